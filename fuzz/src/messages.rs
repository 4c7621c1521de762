//! The messages of an agent that speaks only WebSocket: they are the same events however the input is split, each line
//! of an event is a field, and nothing grows beyond what came.

use weir::upstream::websocket::messages::{Fault, Messages};

/// Most bytes of a message.
const MAX: usize = 200;

/// Checks any bytes. The first byte is the size of the pieces.
pub fn check(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let (whole, mut first, result) = read(bytes, bytes.len());
    let (pieces, mut second, again) = read(bytes, usize::from(*cut));
    assert_eq!(result, again);
    // A line break takes the most: the next line has a name of its own.
    assert!(whole.len() <= 8 * bytes.len() && pieces.len() <= 8 * bytes.len());
    if result.is_err() {
        return;
    }
    assert_eq!(whole, pieces);
    assert_eq!(first.closed(), second.closed());
    let [one, other] = [&mut first, &mut second].map(Messages::take_ping);
    assert_eq!(
        one.as_ref().map(|ping| ping.bytes()),
        other.as_ref().map(|ping| ping.bytes())
    );
    assert!(!whole.contains(&b'\r'));
    for line in whole.split(|byte| *byte == b'\n') {
        assert!(line.is_empty() || line.starts_with(b"data: "));
    }
    // Only the last event may be cut off.
    let mut events: Vec<&[u8]> = Vec::new();
    let mut rest = &whole[..];
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
        events.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    for event in events {
        assert!(std::str::from_utf8(event).is_ok());
    }
}

fn read(bytes: &[u8], cut: usize) -> (Vec<u8>, Messages, Result<(), Fault>) {
    let mut messages = Messages::new(MAX);
    let mut out = Vec::new();
    for piece in bytes.chunks(cut.max(1)) {
        if let Err(fault) = messages.feed(piece, &mut out) {
            return (out, messages, Err(fault));
        }
    }
    (out, messages, Ok(()))
}
