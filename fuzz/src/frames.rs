//! Framing: where reads are cut changes nothing, and what is sent on reads as the same events again.

use weir::wire::{Decoder, Frame, Framing};

const MAX_EVENT: usize = 4096;

/// Name and payload of each frame, as a client sees them.
fn seen(frames: &[Frame<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    (frames.iter())
        .map(|frame| (frame.name().to_vec(), frame.data().to_vec()))
        .collect()
}

/// All frames, up to the first fault, and whether there was none; then the framing found.
fn decode<'a>(
    framing: Framing,
    limit: usize,
    reads: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Frame<'static>>, bool, Framing) {
    let mut decoder = Decoder::new(framing, limit);
    let mut frames = Vec::new();
    for read in reads {
        let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
        if decoder.feed(read, &mut keep).is_err() {
            return (frames, false, decoder.framing());
        }
    }
    frames.extend(decoder.finish());
    (frames, true, decoder.framing())
}

/// The first byte says how the rest is cut.
pub fn check(framing: Framing, data: &[u8]) {
    let Some((cut, text)) = data.split_first() else {
        return;
    };
    let (whole, complete, found) = decode(framing, MAX_EVENT, std::iter::once(text));
    let (pieces, all, again) = decode(framing, MAX_EVENT, text.chunks(usize::from(*cut).max(1)));
    if complete != all {
        // At its bound: the LF of a CRLF that was cut in two does not count, nor does white space in front of what tells
        // the framing, if both come in one read.
        assert!(text.len() > MAX_EVENT);
        return;
    }
    assert_eq!(found, again, "reads were cut every {cut} bytes");
    if found == Framing::Raw {
        let sent =
            |frames: &[Frame<'_>]| frames.iter().flat_map(|one| one.block.to_vec()).collect();
        let (whole, pieces): (Vec<u8>, Vec<u8>) = (sent(&whole), sent(&pieces));
        assert_eq!(whole, text, "what is no stream of events passes as it came");
        assert_eq!(
            pieces, text,
            "what is no stream of events passes as it came"
        );
        return;
    }
    assert_eq!(
        seen(&whole),
        seen(&pieces),
        "reads were cut every {cut} bytes"
    );
    if complete && found == Framing::Sse {
        let sent: Vec<Frame<'_>> = whole.into_iter().filter(|frame| frame.whole).collect();
        // The comment says what it is: without it, a first field that nobody knows would not.
        let mut blocks = b":\n".to_vec();
        blocks.extend(sent.iter().flat_map(|frame| frame.block.to_vec()));
        // A field that came without a space leaves with one, and the bound is of what came.
        let (again, ..) = decode(
            Framing::Sse,
            2 * MAX_EVENT,
            std::iter::once(blocks.as_slice()),
        );
        assert_eq!(
            seen(&sent),
            seen(&again),
            "what was sent on reads differently"
        );
    }
}
