//! Framing: how the input is split into reads changes nothing, and forwarded frames decode to the
//! same events again.

use weir::wire::{Decoder, Frame, Framing};

const MAX_EVENT: usize = 4096;

/// Returns the name and the payload of each frame, as a client sees them.
fn seen(frames: &[Frame<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    (frames.iter())
        .map(|frame| (frame.name().to_vec(), frame.data().to_vec()))
        .collect()
}

/// Returns all frames up to the first error, whether there was no error, and the framing that was
/// detected.
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

/// Checks any bytes. The first byte is the size of the reads.
pub fn check(framing: Framing, data: &[u8]) {
    let Some((cut, text)) = data.split_first() else {
        return;
    };
    let (whole, complete, found) = decode(framing, MAX_EVENT, std::iter::once(text));
    let (pieces, all, again) = decode(framing, MAX_EVENT, text.chunks(usize::from(*cut).max(1)));
    if complete != all {
        // This is allowed at the size limit only. The LF of a CRLF that is split between two reads
        // does not count, nor does white space before the bytes that reveal the framing, if both
        // are in one read.
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
        // The comment identifies the stream as SSE, which an unknown first field would not.
        let mut blocks = b":\n".to_vec();
        blocks.extend(sent.iter().flat_map(|frame| frame.block.to_vec()));
        // The limit applies to the input. A field without a space after the colon is forwarded with
        // one, so the output may be larger.
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
