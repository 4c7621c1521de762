//! Decoding and queueing together: a compressed body of any events, taken as slowly as can be, says the same as one
//! that is taken at once, and hardly anything waits outside the queue.

use std::sync::Arc;

use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{EncodeV2, GzipEncoder, ZstdEncoder};
use tokio::time::Instant;
use weir::dialect::{Choice, Members};
use weir::encode::Encoder;
use weir::event::Event;
use weir::queue::ring::{Push, Ring};
use weir::queue::{Limits, Overflow};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings, Sink};
use weir::wire::Framing;
use weir::wire::encoding::Coding;

const MAX_BYTES: usize = 512;

/// A queue, and what did not fit.
struct Outlet {
    ring: Ring,
    waiting: Vec<(Vec<u8>, Event)>,
    now: Instant,
}

impl Sink for Outlet {
    fn arrived(&mut self, _: &[u8], _: &Event) {}

    fn leaves(&mut self, block: &[u8], event: &Event) {
        if !self.waiting.is_empty() || self.ring.push(block, event, self.now) == Push::Full {
            self.waiting.push((block.to_vec(), *event));
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Checks any bytes. The first one selects the coding, the second the framing, the third the size of the reads.
pub fn check(data: &[u8]) {
    let [coding, framing, cut, text @ ..] = data else {
        return;
    };
    let coding = [Coding::Identity, Coding::Gzip, Coding::Zstd][usize::from(coding % 3)];
    let framing = [Framing::Sse, Framing::Ndjson, Framing::JsonArray][usize::from(framing % 3)];
    // Many small events become of few bytes.
    let text = text.repeat(1 + usize::from(cut % 32));
    let settings = Settings {
        framing,
        coding,
        choice: Choice::Auto,
        hint: None,
        members: Members::default(),
        max_event_bytes: 4096,
        hide: Arc::default(),
    };
    let body = encoded(coding, &text);
    let limits = Limits {
        max_events: 4,
        max_bytes: MAX_BYTES,
        merge: false,
        overflow: Overflow::Block,
    };
    let mut outlet = Outlet {
        ring: Ring::new(limits, Encoder::identity(None, framing)),
        waiting: Vec::new(),
        now: Instant::now(),
    };
    let mut pipeline = Pipeline::new(&settings);
    let mut slowly = Vec::new();
    let mut fault = false;
    for read in body.chunks(usize::from(*cut).max(1)) {
        fault |= pipeline.feed(read, &mut outlet).is_err();
        while !fault && (pipeline.is_paused() || !outlet.waiting.is_empty()) {
            assert!(outlet.waiting.len() <= 1, "one event waits at most");
            outlet.ring.take(1, &mut slowly);
            let waiting = std::mem::take(&mut outlet.waiting);
            for (block, event) in waiting {
                outlet.leaves(&block, &event);
            }
            fault |= pipeline.feed(&[], &mut outlet).is_err();
        }
        if fault {
            return;
        }
    }
    pipeline.finish(InputEnd::Clean, &mut outlet);
    while outlet.ring.take(usize::MAX, &mut slowly).is_some() {}
    for (block, _) in &outlet.waiting {
        slowly.extend_from_slice(block);
    }
    let mut at_once = Vec::new();
    let mut keep = |block: &[u8], _: &Event| at_once.extend_from_slice(block);
    let mut pipeline = Pipeline::new(&settings);
    pipeline.feed(&body, &mut keep).expect("the same body");
    pipeline.finish(InputEnd::Clean, &mut keep);
    // The first bytes may have come in a read that was too short to show that they are no events.
    if pipeline.framing() != Framing::Raw {
        assert_eq!(slowly, at_once);
    }
}

fn encoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut encoder: Box<dyn EncodeV2> = match coding {
        Coding::Gzip => Box::new(GzipEncoder::new(Level::Default.into())),
        Coding::Zstd => Box::new(ZstdEncoder::new(3)),
        _ => return bytes.to_vec(),
    };
    let mut space = vec![0; bytes.len() + 4096];
    let mut output = WriteBuffer::new_initialized(&mut space);
    let mut input = PartialBuffer::new(bytes);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut output).expect("room");
    }
    while !encoder.finish(&mut output).expect("room") {}
    output.written().to_vec()
}
