//! Recognises an event that differs from an earlier one only in its text, and perhaps in a number
//! or a time.
//!
//! Nearly every event of a stream is like that: the deltas of a model repeat their envelope byte by
//! byte. An envelope is parsed once; comparing the next one with it costs a tenth of parsing it.
//! (Measured with one OpenAI chunk of 207 bytes: see `benches/pipeline.rs`.)

use memchr::memchr3;

use crate::event::{Event, Keep, Span, TextsOver};
use crate::wire::{Frame, Payload};

/// How many envelopes in a row may differ before comparison is given up for the stream. Envelopes
/// that contain a time or a counter never repeat.
const MAX_MISSES: u8 = 16;

/// Texts of up to this many bytes are checked byte by byte.
const SHORT: usize = 16;

/// The envelope and the meaning of the last event that had exactly one text.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Repeat {
    /// Everything before the text, then everything after it, without the varying part. Empty if
    /// nothing is known.
    envelope: Vec<u8>,
    varying: Stamp,
    /// The meaning, with the text span of the event that was recognised last.
    meaning: Event,
    /// How many envelopes in a row were not repeated.
    misses: u8,
}

/// Where the envelope has a gap for the varying part, in bytes of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    /// The gap is before the text, after this many bytes.
    Before(u32),
    /// The gap is after the text, followed by this many bytes.
    After(u32),
    None,
}

impl Default for Repeat {
    fn default() -> Self {
        Self {
            envelope: Vec::new(),
            varying: Stamp::None,
            meaning: Event::opaque(),
            misses: 0,
        }
    }
}

impl Repeat {
    /// Reports whether `frame` has the known envelope. If so, [`Repeat::meaning`] is its meaning.
    pub(super) fn recognises(&mut self, frame: &Frame<'_>) -> bool {
        let text = match self.varying {
            Stamp::None => self.text(&frame.block),
            _ => self.gaps(&frame.block),
        };
        let Some(text) = text else {
            return false;
        };
        self.misses = 0;
        self.meaning.text = Some(text);
        if let Some(merge) = &mut self.meaning.merge {
            merge.text = text;
        }
        true
    }

    /// Reports whether the known envelope has come more than once.
    pub(super) const fn was_repeated(&self) -> bool {
        self.misses == 0 && !self.envelope.is_empty()
    }

    /// Returns the meaning of the event that was recognised last.
    pub(super) const fn meaning(&self) -> &Event {
        &self.meaning
    }

    /// Returns the span of the varying part of that event.
    pub(super) const fn varying(&self) -> Option<Span> {
        self.meaning.varying
    }

    /// Returns the span of the text if `block` has the known envelope.
    fn text(&self, block: &[u8]) -> Option<Span> {
        let start = self.meaning.merge?.text.start as usize;
        let (before, after) = self.envelope.split_at_checked(start)?;
        let middle = block.strip_prefix(before)?.strip_suffix(after)?;
        if middle.is_empty() || !is_string_body(middle) {
            return None;
        }
        Span::new(start..start + middle.len())
    }

    /// Like [`Repeat::text`], for an envelope with a gap. Also records the span of the varying
    /// part.
    #[inline(never)]
    fn gaps(&mut self, block: &[u8]) -> Option<Span> {
        let (before, after) = self.envelope.split_at_checked(self.before())?;
        let (start, end, varying) = match self.varying {
            Stamp::None => return None,
            Stamp::Before(at) => {
                let (first, second) = before.split_at_checked(at as usize)?;
                let rest = block.strip_prefix(first)?;
                let varying = stamp_len(rest);
                let text = rest.get(varying..)?.strip_prefix(second)?;
                text.strip_suffix(after)?;
                let span = Span::new(first.len()..first.len() + varying);
                (block.len() - text.len(), block.len() - after.len(), span)
            }
            Stamp::After(behind) => {
                let between = after.len().checked_sub(behind as usize)?;
                let (first, second) = after.split_at_checked(between)?;
                let rest = block.strip_prefix(before)?.strip_suffix(second)?;
                let text = string_len(rest)?;
                let varying = rest.get(text..)?.strip_prefix(first)?;
                if stamp_len(varying) != varying.len() {
                    return None;
                }
                let end = before.len() + text;
                let at = end + first.len();
                (before.len(), end, Span::new(at..at + varying.len()))
            }
        };
        let middle = block.get(start..end)?;
        if middle.is_empty() || !is_string_body(middle) {
            return None;
        }
        self.meaning.varying = varying;
        Span::new(start..end)
    }

    /// Returns how many bytes of the envelope are before the text.
    fn before(&self) -> usize {
        let text = self
            .meaning
            .merge
            .map_or(0, |merge| merge.text.start as usize);
        match (self.varying, self.meaning.varying) {
            (Stamp::Before(_), Some(varying)) => text - varying.len(),
            _ => text,
        }
    }

    /// Forgets what is known: the same envelope may have another meaning from here on.
    pub(super) fn forget(&mut self) {
        *self = Self {
            misses: self.misses,
            ..Self::default()
        };
    }

    /// Remembers the meaning of `frame` if it depends only on the envelope.
    pub(super) fn learn(&mut self, frame: &Frame<'_>, event: &Event) {
        let (Some(text), Some(merge)) = (event.text, event.merge) else {
            return;
        };
        let alone = event.terminal.is_none()
            && event.usage.is_none()
            // The next one may not begin a text.
            && event.texts_over != TextsOver::Perhaps;
        let in_block = matches!(frame.data, Some(Payload::InBlock(_)));
        if !alone || !in_block || merge.text != text || merge.keep == Keep::Replace {
            return;
        }
        // An envelope with the text in it never repeats.
        if merge.copies > 0 {
            return;
        }
        let (Some(before), Some(after)) = (
            frame.block.get(..text.start as usize),
            frame.block.get(text.end as usize..),
        ) else {
            return;
        };
        // Empty text has another meaning, and text without quotes could end anywhere.
        if text.is_empty() || !before.ends_with(b"\"") || !after.starts_with(b"\"") {
            return;
        }
        if self.misses == MAX_MISSES {
            return;
        }
        self.misses += 1;
        self.envelope.clear();
        if self.misses == MAX_MISSES {
            *self = Self {
                misses: MAX_MISSES,
                ..Self::default()
            };
            return;
        }
        self.varying = Stamp::None;
        self.envelope.reserve_exact(before.len() + after.len());
        let varying = event
            .varying
            .filter(|varying| stamp_len(varying.of(&frame.block)) == varying.len());
        self.meaning = Event { varying, ..*event };
        match varying.map(|varying| (varying.start as usize, varying.end as usize)) {
            Some((start, end)) if end < text.start as usize => {
                self.varying = Stamp::Before(varying.map_or(0, |varying| varying.start));
                self.envelope
                    .extend_from_slice(before.get(..start).unwrap_or_default());
                self.envelope
                    .extend_from_slice(before.get(end..).unwrap_or_default());
                self.envelope.extend_from_slice(after);
            }
            Some((start, end)) if start > text.end as usize => {
                let behind = frame.block.get(end..).unwrap_or_default();
                self.varying = Stamp::After(u32::try_from(behind.len()).unwrap_or(0));
                let between = frame.block.get(text.end as usize..start);
                self.envelope.extend_from_slice(before);
                self.envelope.extend_from_slice(between.unwrap_or_default());
                self.envelope.extend_from_slice(behind);
            }
            _ => {
                self.meaning.varying = None;
                self.envelope.extend_from_slice(before);
                self.envelope.extend_from_slice(after);
            }
        }
    }
}

/// Returns how many bytes at the start may belong to a number or a time.
fn stamp_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'+' | b'-')
        })
        .count()
}

/// Reports whether `bytes` is the whole body of one JSON string, without a line break.
fn is_string_body(bytes: &[u8]) -> bool {
    // The text is usually one word: checking each byte is faster than setting up a search.
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | b'\n');
    if bytes.len() <= SHORT && bytes.iter().all(is_plain) {
        return true;
    }
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        let Some(next) = memchr3(b'"', b'\\', b'\n', rest) else {
            return true;
        };
        if rest.get(next) != Some(&b'\\') {
            return false;
        }
        at += next + 2;
    }
    false
}

/// Returns the length of the JSON string body at the start of `bytes`, up to a closing quote on the
/// same line.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + memchr3(b'"', b'\\', b'\n', bytes.get(at..)?)?;
        match bytes.get(next)? {
            b'"' => return Some(next),
            b'\\' => at = next + 2,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Classifier, Dialect};
    use crate::event::Class;
    use crate::wire::{Decoder, Framing};

    fn frames(body: &str) -> Vec<Frame<'static>> {
        let mut out = Vec::new();
        let mut keep = |frame: Frame<'_>| out.push(frame.into_owned());
        Decoder::new(Framing::Sse, 1 << 20)
            .feed(body.as_bytes(), &mut keep)
            .unwrap();
        out
    }

    fn chunk(content: &str) -> String {
        format!(
            "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"delta\":{{\"content\":{content}}}}}]}}\n\n"
        )
    }

    #[test]
    fn what_looks_alike_means_the_same_and_nothing_else_does() {
        let texts = [
            r#""a""#,
            r#""Rain \"and\" \\ \n\u00e9""#,
            r#""""#,
            r"null",
            r#""a","refusal":"b""#,
            r#""a"},"finish_reason":"stop","x":{"y":"z""#,
            r#""a\""#,
            r#""a\\""#,
            "\"a\ndata: b\"",
            "\"a\nid: b\"",
            r#""b""#,
            r#""b"}}],"usage":{"completion_tokens":7},"x":[{"y":{"z":"b""#,
            r#""c""#,
        ];
        let body: String = texts.iter().map(|text| chunk(text)).collect();
        let mut remembering = Classifier::new(Dialect::OpenAiChat);
        let mut forgetful = Classifier::new(Dialect::OpenAiChat);
        let mut tokens = 0;
        for frame in frames(&body) {
            let read = forgetful.read(&frame);
            assert_eq!(
                *remembering.classify(&frame, &mut None),
                read,
                "{}",
                frame.block.escape_ascii()
            );
            tokens += usize::from(read.class == Class::Token);
        }
        assert!(tokens >= 5, "{tokens}");
    }

    #[test]
    fn an_envelope_that_never_repeats_is_not_kept() {
        let mut repeat = Repeat::default();
        let mut classifier = Classifier::new(Dialect::OpenAiChat);
        let mut feed = |id: usize| {
            let body = format!(
                "data: {{\"id\":\"{id}\",\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\n"
            );
            for frame in frames(&body) {
                let known = repeat.recognises(&frame);
                repeat.learn(&frame, &classifier.read(&frame));
                if known {
                    return true;
                }
            }
            false
        };
        assert!(!feed(1));
        assert!(feed(1));
        for id in 0..100 {
            feed(1000 + id);
        }
        assert!(!feed(7) && !feed(7), "it has given up");
        assert_eq!(repeat.envelope.capacity(), 0);
    }
}
