//! What the queue costs per event: kept up with, joined when full, dropped when full.
//!
//! `cargo bench --bench queue`

use divan::{AllocProfiler, Bencher, black_box};
use tokio::time::Instant;
use weir::event::{Class, Content, Event, Keep, Merge, Span};
use weir::queue::ring::Ring;
use weir::queue::{Limits, Overflow};

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

/// A block of 207 bytes, the size of a usual chat chunk, with five bytes of text.
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
    });
    let event = Event {
        content: Content::Token,
        text: Some(text),
        merge,
        ..Event::bare(Class::Token)
    };
    (block, event)
}

/// One event in, one event out: a client that keeps up.
#[divan::bench]
fn push_and_take(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let mut ring = Ring::new(LIMITS, true);
    let mut out = Vec::new();
    bencher.bench_local(|| {
        ring.push(black_box(&block), &event, now);
        out.clear();
        black_box(ring.take(usize::MAX, &mut out))
    });
}

/// Sixteen events of one read, taken in one piece.
#[divan::bench]
fn push_16_and_take(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let mut ring = Ring::new(LIMITS, true);
    let mut out = Vec::new();
    bencher.bench_local(|| {
        for _ in 0..16 {
            ring.push(black_box(&block), &event, now);
        }
        out.clear();
        black_box(ring.take(usize::MAX, &mut out))
    });
}

/// A client that reads nothing: events of one kind are joined.
#[divan::bench]
fn push_when_full_joins(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let mut ring = Ring::new(LIMITS, true);
    bencher.bench_local(|| ring.push(black_box(&block), &event, now));
}

/// A client that reads nothing, and merging switched off: the oldest is dropped.
#[divan::bench]
fn push_when_full_drops(bencher: Bencher<'_, '_>) {
    let (block, event) = token(1);
    let now = Instant::now();
    let limits = Limits {
        merge: false,
        ..LIMITS
    };
    let mut ring = Ring::new(limits, true);
    bencher.bench_local(|| ring.push(black_box(&block), &event, now));
}
