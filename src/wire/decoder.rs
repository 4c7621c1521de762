//! Decodes a response body whose framing is confirmed by its first bytes.
//!
//! Some servers label a body as an event stream although it is a JSON error, an HTML page, or tokens without any
//! framing. Decoded as events, such a body would be lost. Therefore the first bytes decide, and a body that has
//! no known framing is passed on unchanged.

use std::borrow::Cow;

use super::{Error, Flow, Frame, Framing, array, json, lines, ndjson, sse};

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// SSE field names that an event stream can begin with. llama.cpp servers send `error`.
const FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b"error"];

/// A decoder that turns bytes into frames.
#[derive(Debug)]
pub struct Decoder {
    kind: Kind,
    limit: usize,
    /// What followed the frame after which the decoder was paused.
    held: Vec<u8>,
}

#[derive(Debug)]
enum Kind {
    /// The announced framing, and the bytes so far, which are too few to decide: less than a field name, or
    /// only white space.
    Undecided(Framing, Vec<u8>),
    Array(array::Decoder),
    Lines(ndjson::Decoder),
    Ndjson(ndjson::Decoder),
    Raw,
    Sse(sse::Decoder),
}

impl Decoder {
    /// Creates a decoder for a body announced as `framing`. It rejects events larger than `max_event_bytes`.
    pub fn new(framing: Framing, max_event_bytes: usize) -> Self {
        Self {
            kind: Kind::Undecided(framing, Vec::new()),
            limit: max_event_bytes,
            held: Vec::new(),
        }
    }

    /// Returns the framing: the announced one until the first bytes decide.
    pub const fn framing(&self) -> Framing {
        match &self.kind {
            Kind::Undecided(announced, _) => *announced,
            Kind::Array(_) => Framing::JsonArray,
            Kind::Lines(_) => Framing::Lines,
            Kind::Ndjson(_) => Framing::Ndjson,
            Kind::Raw => Framing::Raw,
            Kind::Sse(_) => Framing::Sse,
        }
    }

    /// Passes each frame that `chunk` completes to `sink`, until `sink` pauses. The next call goes on from there, with
    /// an empty `chunk` if nothing new has come.
    ///
    /// # Errors
    /// If an event exceeds the size limit. The decoder cannot be used any further then.
    pub fn feed<F: Into<Flow>>(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<(), Error> {
        if self.held.is_empty() {
            let used = self.decode(chunk, sink)?;
            self.hold(chunk.get(used..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(chunk);
            let used = self.decode(&held, sink)?;
            held.drain(..used.min(held.len()));
            self.held = held;
        }
        Ok(())
    }

    /// Keeps `chunk` for the next call of [`Decoder::feed`], because there is no room for its frames now.
    pub fn hold(&mut self, chunk: &[u8]) {
        self.held.extend_from_slice(chunk);
    }

    /// Reports whether there are bytes to go on with.
    pub const fn is_paused(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns how many bytes of an unfinished frame are held.
    pub fn pending(&self) -> usize {
        match &self.kind {
            Kind::Undecided(_, held) => held.len(),
            Kind::Array(decoder) => decoder.pending(),
            Kind::Lines(decoder) | Kind::Ndjson(decoder) => decoder.pending(),
            Kind::Raw => 0,
            Kind::Sse(decoder) => decoder.pending(),
        }
    }

    /// Decodes `chunk` as far as `sink` lets it. Returns how much of it is used.
    fn decode<F: Into<Flow>>(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<usize, Error> {
        match &mut self.kind {
            Kind::Undecided(announced, held) => {
                let joined;
                let first = if held.is_empty() {
                    chunk
                } else {
                    joined = [held.as_slice(), chunk].concat();
                    &joined
                };
                match decide(*announced, first) {
                    Some(framing) => {
                        self.settle(framing);
                        let used = self.decode(first, sink)?;
                        self.hold(first.get(used..).unwrap_or_default());
                        Ok(chunk.len())
                    }
                    // Only white space can reach the limit here.
                    None if first.len() > self.limit => Err(Error::TooLarge { limit: self.limit }),
                    None => {
                        held.extend_from_slice(chunk);
                        Ok(chunk.len())
                    }
                }
            }
            Kind::Array(decoder) => decoder.feed(chunk, sink),
            Kind::Lines(decoder) => decoder.feed(chunk, &mut |frame| sink(lines::part(frame))),
            Kind::Ndjson(decoder) => decoder.feed(chunk, sink),
            Kind::Raw => {
                if let Some(frame) = raw(chunk.into()) {
                    sink(frame);
                }
                Ok(chunk.len())
            }
            Kind::Sse(decoder) => decoder.feed(chunk, sink),
        }
    }

    /// Returns the frame that is unfinished at the end of the input, if any.
    pub fn finish(&mut self) -> Option<Frame<'static>> {
        match &mut self.kind {
            // White space alone is no frame in any framing.
            Kind::Undecided(_, held) if held.trim_ascii().is_empty() => None,
            Kind::Undecided(_, held) => {
                let held = std::mem::take(held);
                self.kind = Kind::Raw;
                raw(held.into())
            }
            Kind::Array(decoder) => decoder.finish(),
            Kind::Lines(decoder) => decoder.finish().map(|frame| {
                let frame = lines::part(frame);
                Frame {
                    whole: json::is_whole(frame.data()),
                    ..frame
                }
            }),
            Kind::Ndjson(decoder) => decoder.finish(),
            Kind::Raw => None,
            Kind::Sse(decoder) => decoder.finish(),
        }
    }

    /// Returns how many comments (heartbeats of the upstream) were consumed since the last call.
    pub fn take_comments(&mut self) -> u64 {
        match &mut self.kind {
            Kind::Sse(decoder) => decoder.take_comments(),
            _ => 0,
        }
    }

    fn settle(&mut self, framing: Framing) {
        self.kind = match framing {
            Framing::JsonArray => Kind::Array(array::Decoder::new(self.limit)),
            Framing::Lines => Kind::Lines(ndjson::Decoder::new(self.limit)),
            Framing::Ndjson => Kind::Ndjson(ndjson::Decoder::new(self.limit)),
            Framing::Raw => Kind::Raw,
            Framing::Sse => Kind::Sse(sse::Decoder::new(self.limit)),
        };
    }
}

/// Returns `block` as a raw frame, or `None` if it is empty.
fn raw(block: Cow<'_, [u8]>) -> Option<Frame<'_>> {
    (!block.is_empty()).then_some(Frame {
        block,
        name: None,
        data: None,
        whole: true,
        raw: true,
    })
}

/// Returns the actual framing of a body that was announced as `framing`, or `None` while `first` holds too few
/// bytes to decide.
fn decide(framing: Framing, first: &[u8]) -> Option<Framing> {
    if BOM.starts_with(first) {
        return None;
    }
    let text = first.strip_prefix(BOM).unwrap_or(first).trim_ascii_start();
    let start = *text.first()?;
    match framing {
        Framing::JsonArray if start == b'[' => return Some(Framing::JsonArray),
        // Most likely an error response.
        Framing::JsonArray => return Some(Framing::Raw),
        Framing::Lines => return is_coded(text),
        Framing::Ndjson | Framing::Raw | Framing::Sse => {}
    }
    let announced_lines = framing == Framing::Ndjson;
    if announced_lines && (b"{[\"-tfn".contains(&start) || start.is_ascii_digit()) {
        return Some(Framing::Ndjson);
    }
    if start == b':' {
        return Some(Framing::Sse);
    }
    let name_end = text
        .iter()
        .position(|byte| matches!(byte, b':' | b'\r' | b'\n'));
    match name_end.and_then(|end| text.get(..end)) {
        Some(name) if FIELDS.contains(&name) => Some(Framing::Sse),
        None if FIELDS.iter().any(|field| field.starts_with(text)) => None,
        _ => Some(Framing::Raw),
    }
}

/// Returns [`Framing::Lines`] if a body begins with a code and a colon, [`Framing::Raw`] if not, and `None` while
/// it is too short to decide.
fn is_coded(text: &[u8]) -> Option<Framing> {
    let is_code = text.first().is_some_and(u8::is_ascii_alphanumeric);
    match text.get(1) {
        None if is_code => None,
        Some(b':') if is_code => Some(Framing::Lines),
        _ => Some(Framing::Raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(framing: Framing, body: &[u8], cut: usize) -> (Framing, Vec<Vec<u8>>) {
        let mut decoder = Decoder::new(framing, 1 << 10);
        let mut blocks = Vec::new();
        for piece in body.chunks(cut) {
            let mut keep = |frame: Frame<'_>| blocks.push(frame.block.into_owned());
            decoder.feed(piece, &mut keep).unwrap();
        }
        blocks.extend(decoder.finish().map(|frame| frame.block.into_owned()));
        (decoder.framing(), blocks)
    }

    #[test]
    fn the_first_bytes_decide_however_they_are_cut() {
        let events: [&[u8]; 7] = [
            b"data: x\n\n",
            b"\xEF\xBB\xBFdata: x\n\n",
            b"\r\n\ndata:x\n\n",
            b": hello\n\n",
            b"event\ndata: x\n\n",
            b"id: 1\ndata: x\n\n",
            b"error: {\"code\":500}\n\n",
        ];
        let others: [&[u8]; 8] = [
            b"{\"error\":{\"message\":\"no\"}}",
            b"[1]",
            b"<html>\n\ndata: x\n\n</html>",
            b"It rains: data\n\n",
            b"database\n",
            b"Data: x\n\n",
            b"dat",
            b"\n\n \"x\"",
        ];
        for cut in 1..12 {
            for body in events {
                assert_eq!(run(Framing::Sse, body, cut).0, Framing::Sse, "{body:?}");
            }
            for body in others {
                let (framing, blocks) = run(Framing::Sse, body, cut);
                assert_eq!(blocks.concat(), body, "every byte, as it came");
                assert_eq!(framing, Framing::Raw);
            }
        }
    }

    #[test]
    fn lines_that_are_no_json_are_events_or_pass_as_they_are() {
        let ask = |body: &[u8]| run(Framing::Ndjson, body, 3).0;
        for lines in [
            &b"{\"a\":1}\n"[..],
            b"\n[1]\n",
            b"\"x\"\n",
            b"12\n",
            b"null\n",
        ] {
            assert_eq!(ask(lines), Framing::Ndjson);
        }
        assert_eq!(ask(b"data: x\n\n"), Framing::Sse);
        assert_eq!(ask(b"It rains.\n"), Framing::Raw);
    }

    #[test]
    fn blank_lines_alone_say_nothing() {
        assert_eq!(run(Framing::Sse, b"\n\r\n \n", 1), (Framing::Sse, vec![]));
        assert_eq!(run(Framing::Ndjson, b"\n", 1), (Framing::Ndjson, vec![]));
    }

    #[test]
    fn white_space_is_bounded() {
        let mut decoder = Decoder::new(Framing::Sse, 16);
        let mut feed = |bytes: &[u8]| decoder.feed(bytes, &mut |_| {});
        assert_eq!(feed(b"          "), Ok(()));
        assert_eq!(feed(b"          "), Err(Error::TooLarge { limit: 16 }));
    }
}
