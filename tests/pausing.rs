//! Checks that a stream that is paused says the same as one that is not, whatever its framing and coding, and that
//! little is done and kept while it is paused.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{
    BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder, brotli, core::Level,
};
use weir::dialect::{Choice, Dialect, Members};
use weir::event::Event;
use weir::stream::pipeline::{InputEnd, Pipeline, Settings, Sink, Verdict};
use weir::wire::Framing;
use weir::wire::encoding::Coding;

mod support;

use support::fixtures;

/// Takes a few events at a time.
struct Sips {
    out: Vec<u8>,
    room: usize,
    decoded: usize,
}

impl Sink for Sips {
    fn arrived(&mut self, _: &[u8], _: &Event) {}

    fn leaves(&mut self, block: &[u8], _: &Event) {
        self.out.extend_from_slice(block);
        self.room = self.room.saturating_sub(1);
    }

    fn decoded(&mut self, bytes: usize) {
        self.decoded += bytes;
    }

    fn has_room(&self) -> bool {
        self.room > 0
    }
}

fn settings(choice: Choice, framing: Framing, coding: Coding) -> Settings {
    Settings {
        framing,
        coding,
        choice,
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    }
}

/// Returns what the pipeline makes of a stream that comes in pieces of `cut` bytes, when it may pass on `room` events
/// at a time.
fn through(settings: &Settings, bytes: &[u8], cut: usize, room: usize) -> (Vec<u8>, Verdict) {
    let mut pipeline = Pipeline::new(settings);
    let mut sink = Sips {
        out: Vec::new(),
        room,
        decoded: 0,
    };
    for piece in bytes.chunks(cut) {
        pipeline.feed(piece, &mut sink).unwrap();
        while pipeline.is_paused() {
            assert_eq!(sink.room, 0, "there was room");
            sink.room = room;
            pipeline.feed(&[], &mut sink).unwrap();
        }
        sink.room = room;
    }
    let verdict = pipeline.finish(InputEnd::Clean, &mut sink);
    (sink.out, verdict)
}

fn encoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut space = vec![0; bytes.len() + 4096];
    let mut output = WriteBuffer::new_initialized(&mut space);
    let mut input = PartialBuffer::new(bytes);
    let mut encoder: Box<dyn EncodeV2> = match coding {
        Coding::Brotli => Box::new(BrotliEncoder::new(brotli::params::EncoderParams::default())),
        Coding::Deflate => Box::new(ZlibEncoder::new(Level::Default.into())),
        Coding::Gzip => Box::new(GzipEncoder::new(Level::Default.into())),
        Coding::Zstd => Box::new(ZstdEncoder::new(3)),
        Coding::Identity => return bytes.to_vec(),
    };
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut output).unwrap();
    }
    while !encoder.finish(&mut output).unwrap() {}
    output.written().to_vec()
}

const CODINGS: [Coding; 5] = [
    Coding::Identity,
    Coding::Gzip,
    Coding::Deflate,
    Coding::Brotli,
    Coding::Zstd,
];

#[test]
fn a_paused_stream_says_the_same() {
    for fixture in Dialect::ALL
        .into_iter()
        .filter(|dialect| !dialect.is_opaque())
        .flat_map(fixtures)
    {
        let choice = Choice::Fixed(fixture.dialect);
        let plain = settings(choice, fixture.framing, Coding::Identity);
        let whole = through(&plain, &fixture.bytes, usize::MAX, usize::MAX);
        for coding in CODINGS {
            let bytes = encoded(coding, &fixture.bytes);
            let settings = settings(choice, fixture.framing, coding);
            for (cut, room) in [(usize::MAX, 1), (usize::MAX, 3), (7, 1), (1000, 2)] {
                let paused = through(&settings, &bytes, cut, room);
                assert_eq!(paused, whole, "{:?} {coding:?}", fixture.path);
            }
        }
    }
}

/// Half a million events in a few kilobytes.
#[test]
fn what_is_compressed_is_decoded_as_far_as_there_is_room() {
    // Not all alike: that would be refused as a decompression bomb.
    let mut state = 1_u64;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % 10
    };
    let dust: String = (0..20_000).map(|_| format!("id:{}\n\n", digit())).collect();
    for coding in CODINGS.into_iter().skip(1) {
        let bytes = encoded(coding, dust.as_bytes());
        assert!(bytes.len() < dust.len() / 6, "{}", bytes.len());
        let mut pipeline = Pipeline::new(&settings(Choice::Auto, Framing::Sse, coding));
        let mut sink = Sips {
            out: Vec::new(),
            room: 1,
            decoded: 0,
        };
        pipeline.feed(&bytes, &mut sink).unwrap();
        assert_eq!(sink.out.len(), b"id: 0\n\n".len(), "{coding:?}");
        // More of the body comes while there is no room.
        for _ in 0..100 {
            pipeline.feed(&[], &mut sink).unwrap();
        }
        assert!(sink.decoded <= 16 * 1024, "{coding:?}: {}", sink.decoded);
        let mut events = 1;
        while pipeline.is_paused() {
            let before = sink.decoded;
            sink.room = 1000;
            pipeline.feed(&[], &mut sink).unwrap();
            assert!(sink.decoded - before <= 32 * 1024, "{coding:?}");
            events += 1000 - sink.room;
        }
        assert_eq!(events, 20_000, "{coding:?}");
    }
}
