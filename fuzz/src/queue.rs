//! The queue under any sequence of pushes and takes: it stays bounded and in order, and no critical
//! event is lost.

use tokio::time::Instant;
use weir::encode::Encoder;
use weir::event::{Class, Content, Event, Keep, Merge, Span};
use weir::queue::ring::{Push, Ring};
use weir::queue::{Limits, Overflow};
use weir::wire::Framing;

/// Returns an encoder for a client whose framing has no comments.
fn silent() -> Encoder {
    Encoder::identity(None, Framing::Ndjson)
}

const MAX_EVENTS: usize = 8;
const MAX_BYTES: usize = 256;

/// Checks any sequence of steps. Each byte is one step.
pub fn check(data: &[u8]) {
    let limits = Limits {
        max_events: MAX_EVENTS,
        max_bytes: MAX_BYTES,
        merge: data.first().is_none_or(|first| first & 1 == 0),
        overflow: Overflow::DropOldest,
    };
    let mut ring = Ring::new(limits, silent());
    let now = Instant::now();
    let (mut critical, mut received) = (Vec::new(), Vec::new());
    for (step, byte) in data.iter().enumerate() {
        match byte % 4 {
            0 => {
                ring.take(usize::from(*byte), &mut received);
            }
            1 => {
                let block = format!("!{step}!");
                if ring.push(block.as_bytes(), &Event::bare(Class::Tool), now) == Push::Accepted {
                    critical.push(block);
                }
            }
            _ => {
                let text = "x".repeat(usize::from(byte / 4));
                let block = format!("<{text}>");
                let span = Span::new(1..1 + text.len()).expect("a short text");
                let merge = Merge {
                    key: u64::from(byte & 64),
                    text: span,
                    keep: Keep::First,
                    lists: false,
                    copies: 0,
                };
                let event = Event {
                    content: Content::Token,
                    text: Some(span),
                    merge: Some(merge),
                    ..Event::bare(Class::Token)
                };
                assert_eq!(ring.push(block.as_bytes(), &event, now), Push::Accepted);
            }
        }
        assert!(ring.len() <= MAX_EVENTS);
        assert!(ring.bytes() <= MAX_BYTES || ring.len() == 1);
    }
    while ring.take(usize::MAX, &mut received).is_some() {}
    let text = String::from_utf8(received).expect("blocks are text");
    let marks: Vec<&str> = text.split('!').skip(1).step_by(2).collect();
    let sent: Vec<&str> = critical
        .iter()
        .map(|block| block.trim_matches('!'))
        .collect();
    assert_eq!(marks, sent, "critical events, in order");
}
