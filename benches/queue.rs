//! The cost of the queue per event: when the client keeps up, when a full queue joins events, and when it drops them.
//!
//! `cargo bench --bench queue`

use divan::{AllocProfiler, Bencher, black_box};
use tokio::time::Instant;
use weir::encode::Encoder;
use weir::event::{Class, Content, Event, Keep, Merge, Span};
use weir::queue::ring::Ring;
use weir::queue::{Limits, Overflow};
use weir::wire::Framing;

/// Returns the encoder of a client that skips comments, so that drops are reported to it.
fn tells() -> Encoder {
    Encoder::identity(None, Framing::Sse)
}

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const LIMITS: Limits = Limits {
    max_events: 256,
    max_bytes: 1 << 20,
    merge: true,
    overflow: Overflow::DropOldest,
};

fn main() {
    divan::main();
}

/// Returns a block of 207 bytes, the size of a usual chat chunk, with five bytes of text.
fn token(key: u64) -> (Vec<u8>, Event) {
    let block = vec![b'x'; 207];
    let text = Span {
        start: 150,
        end: 155,
    };
    let merge = Some(Merge {
        key,
        text,
        keep: Keep::First,
        lists: false,
        copies: 0,
    });
    let event = Event {
        content: Content::Token,
        text: Some(text),
        merge,
        ..Event::bare(Class::Token)
    };
    (block, event)
}

/// One event in, one event out: the client keeps up.
#[divan::bench]
fn push_and_take(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let mut ring = Ring::new(LIMITS, tells());
    let mut out = Vec::new();
    bencher.bench_local(|| {
        ring.push(black_box(&block), &event, now);
        out.clear();
        black_box(ring.take(usize::MAX, &mut out))
    });
}

/// Sixteen events from one read, taken together.
#[divan::bench]
fn push_16_and_take(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let mut ring = Ring::new(LIMITS, tells());
    let mut out = Vec::new();
    bencher.bench_local(|| {
        for _ in 0..16 {
            ring.push(black_box(&block), &event, now);
        }
        out.clear();
        black_box(ring.take(usize::MAX, &mut out))
    });
}

/// The client reads nothing: events of the same kind are joined.
#[divan::bench]
fn push_when_full_joins(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let mut ring = Ring::new(LIMITS, tells());
    bencher.bench_local(|| ring.push(black_box(&block), &event, now));
}

/// The client reads nothing and merging is off: the oldest event is dropped.
#[divan::bench]
fn push_when_full_drops(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let limits = Limits {
        merge: false,
        ..LIMITS
    };
    let mut ring = Ring::new(limits, tells());
    bencher.bench_local(|| ring.push(black_box(&block), &event, now));
}
