//! The frames of a WebSocket: the same are found however the input is split, no byte is lost but those of a refused
//! frame, and a boundary that is asked for is one.

use weir::wire::websocket::{Follower, Sender};

/// Checks any bytes. The first byte is the size of the pieces and, by its lowest bit, who sends.
pub fn check(data: &[u8]) {
    let Some((pick, bytes)) = data.split_first() else {
        return;
    };
    let sender = if pick & 1 == 0 {
        Sender::Client
    } else {
        Sender::Server
    };
    let cut = usize::from(*pick / 2).max(1);
    let mut whole = Follower::new(sender);
    let passed = whole.feed(bytes);
    assert!(passed <= bytes.len());
    assert!(whole.refuses() || passed == bytes.len());
    let mut pieces = Follower::new(sender);
    for piece in bytes.chunks(cut) {
        let passed = pieces.feed(piece);
        assert!(pieces.refuses() || passed == piece.len());
    }
    assert_eq!(whole.frames(), pieces.frames());
    assert_eq!(whole.messages(), pieces.messages());
    assert_eq!(whole.close_code(), pieces.close_code());
    assert_eq!(whole.violation(), pieces.violation());
    assert_eq!(whole.progress(), pieces.progress());
    assert!(whole.refuses() || whole.is_at_boundary() == pieces.is_at_boundary());

    // An end takes no more than what passes between two, and refuses the same however it is cut.
    let mut strict = Follower::strict(sender);
    let taken = strict.feed(bytes);
    assert!(taken <= passed);
    assert!(strict.refuses() || taken == bytes.len());
    let mut pieces = Follower::strict(sender);
    for piece in bytes.chunks(cut) {
        pieces.feed(piece);
    }
    assert_eq!(strict.violation(), pieces.violation());
    assert_eq!(strict.frames(), pieces.frames());

    // From boundary to boundary.
    let mut steps = Follower::new(sender);
    let mut rest = bytes;
    while !rest.is_empty() && !steps.refuses() {
        let used = steps.feed_to_boundary(rest);
        assert!(used > 0 || steps.refuses());
        assert!(used == rest.len() || steps.is_at_boundary());
        rest = &rest[used..];
    }
    assert_eq!(steps.frames(), whole.frames());
}
