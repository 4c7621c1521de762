//! Bytes to events: undo the coding, cut into frames, classify. A plain value: no clock, no I/O.

use std::sync::Arc;

use crate::dialect::{Choice, Dialect, ErrorContext, Members};
use crate::event::{Content, Event, Terminal};
use crate::filter::{Filter, Hidden, Rules};
use crate::wire::encoding::{self, Coding};
use crate::wire::{self, Decoder, Frame, Framing};

use super::classify::StreamClassifier;

/// Why the bytes are no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The compressed body is corrupt.
    Corrupt,
    /// One event, or the expansion of the body, exceeds its bound.
    TooLarge,
}

impl From<wire::Error> for Fault {
    fn from(_: wire::Error) -> Self {
        Self::TooLarge
    }
}

impl From<encoding::Error> for Fault {
    fn from(error: encoding::Error) -> Self {
        match error {
            encoding::Error::Corrupt => Self::Corrupt,
            encoding::Error::Expansion => Self::TooLarge,
        }
    }
}

/// What the end of the input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was there.
    Complete,
    /// Something is missing.
    Truncated,
}

/// What one stream needs to know to cut itself into events.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Framing by content type; the first bytes may say otherwise.
    pub framing: Framing,
    /// Content coding of the body.
    pub coding: Coding,
    /// The route's word on the dialect.
    pub choice: Choice,
    /// What request and answer say of the dialect.
    pub hint: Option<Dialect>,
    /// What the request's body says.
    pub members: Members,
    /// Bound of one event.
    pub max_event_bytes: usize,
    /// What the client does not get.
    pub hide: Arc<Rules>,
}

/// Where a stream's events go.
pub trait Sink {
    /// The upstream sent this.
    fn arrived(&mut self, block: &[u8], event: &Event);
    /// The client may see this.
    fn leaves(&mut self, block: &[u8], event: &Event);

    /// Both.
    fn passes(&mut self, block: &[u8], event: &Event) {
        self.arrived(block, event);
        self.leaves(block, event);
    }
}

impl<F: FnMut(&[u8], &Event)> Sink for F {
    fn arrived(&mut self, _: &[u8], _: &Event) {}

    fn leaves(&mut self, block: &[u8], event: &Event) {
        self(block, event);
    }
}

/// One stream's bytes to events.
#[derive(Debug)]
#[repr(C)]
pub struct Pipeline {
    coding: Option<Box<encoding::Decoder>>,
    decoder: Decoder,
    classifier: StreamClassifier,
    /// What the client does not get; `None` if it gets everything.
    filter: Option<Box<Filter>>,
}

impl Pipeline {
    /// A pipeline before its first byte.
    pub fn new(settings: &Settings) -> Self {
        Self {
            coding: encoding::Decoder::new(settings.coding).map(Box::new),
            decoder: Decoder::new(settings.framing, settings.max_event_bytes),
            classifier: StreamClassifier::new(
                settings.choice,
                settings.hint,
                settings.members.clone(),
            ),
            filter: (settings.hide.is_on())
                .then(|| Box::new(Filter::new(Arc::clone(&settings.hide), settings.framing))),
        }
    }

    /// Gives `sink` each event that `chunk` completes, up to a terminal one: its bytes to send on, and what they
    /// mean.
    ///
    /// # Errors
    /// When the bytes are no stream. Events before the fault were given.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let Self {
            coding,
            decoder,
            classifier,
            filter,
        } = self;
        let mut frames = |frame: Frame<'_>| pass(classifier, filter, &frame, sink);
        let result = match coding {
            None => decoder.feed(chunk, &mut frames).map_err(Fault::from),
            Some(coding) => coding.feed(chunk, |bytes| Ok(decoder.feed(bytes, &mut frames)?)),
        };
        classifier.note_heartbeats(decoder.take_comments());
        result
    }

    /// The end of the input: completes a last event that lacks only its end, and judges the whole.
    pub fn finish(&mut self, sink: &mut impl Sink) -> Verdict {
        let coding = self.coding.as_ref();
        let torn_coding = coding.is_some_and(|coding| !coding.is_complete());
        let mut torn = false;
        if self.terminal().is_none()
            && let Some(frame) = self.decoder.finish()
        {
            torn = !frame.whole;
            if frame.whole {
                pass(&mut self.classifier, &mut self.filter, &frame, sink);
            }
        }
        self.flush(sink);
        let ended = self.classifier.finish();
        if ended && !torn && (self.terminal().is_some() || !torn_coding) {
            Verdict::Complete
        } else {
            Verdict::Truncated
        }
    }

    /// Gives `sink` what was held back and may be seen: the stream ends here.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        if let Some(filter) = &mut self.filter {
            filter.finish(&mut |block, event| sink.leaves(block, event));
        }
    }

    /// Whether the client may get less than the upstream sends.
    pub const fn hides(&self) -> bool {
        self.filter.is_some()
    }

    /// What was hidden so far.
    pub fn hidden(&self) -> Hidden {
        self.filter
            .as_ref()
            .map(|filter| filter.hidden())
            .unwrap_or_default()
    }

    /// What the stream speaks, as far as it is known.
    pub const fn dialect(&self) -> Dialect {
        self.classifier.dialect()
    }

    /// How its frames are separated.
    pub const fn framing(&self) -> Framing {
        self.decoder.framing()
    }

    /// What the end of the input would mean now, although more may follow: a good end, or one that failed.
    pub const fn may_end(&self) -> Option<Terminal> {
        self.classifier.may_end()
    }

    /// What an error event to the client has to agree with.
    pub fn error_context(&self) -> ErrorContext {
        self.classifier.error_context()
    }

    /// The dialect that was announced and never came.
    pub const fn mismatched(&self) -> Option<Dialect> {
        self.classifier.mismatched()
    }

    /// The terminal event seen.
    pub const fn terminal(&self) -> Option<Terminal> {
        self.classifier.terminal()
    }

    /// Heartbeats of the upstream consumed since the last call.
    pub const fn take_heartbeats(&mut self) -> u64 {
        self.classifier.take_heartbeats()
    }
}

/// One frame on its way.
fn pass(
    classifier: &mut StreamClassifier,
    filter: &mut Option<Box<Filter>>,
    frame: &Frame<'_>,
    sink: &mut impl Sink,
) {
    let Some(filter) = filter else {
        if let Some(event) = classifier.read(frame) {
            sink.passes(&frame.block, event);
        }
        return;
    };
    let Some(event) = classifier.read(frame).copied() else {
        return;
    };
    sink.arrived(&frame.block, &event);
    filter.take(classifier.dialect(), frame, &event, &mut |block, event| {
        sink.leaves(block, event);
    });
}

/// Whether an event counts as content for deadlines and time to first event.
pub const fn is_content(event: &Event) -> bool {
    !matches!(event.content, Content::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Class;

    fn run(hint: Option<Dialect>, input: &str) -> (Vec<(String, Class)>, Verdict, Dialect) {
        let settings = Settings {
            framing: Framing::Sse,
            coding: Coding::Identity,
            choice: Choice::Auto,
            hint,
            members: Members::default(),
            max_event_bytes: 1 << 20,
            hide: Arc::default(),
        };
        let mut pipeline = Pipeline::new(&settings);
        let mut out = Vec::new();
        let mut keep = |block: &[u8], event: &Event| {
            out.push((String::from_utf8(block.to_vec()).unwrap(), event.class));
        };
        pipeline.feed(input.as_bytes(), &mut keep).unwrap();
        let verdict = pipeline.finish(&mut keep);
        (out, verdict, pipeline.dialect())
    }

    const CHUNK: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

    #[test]
    fn a_stream_without_its_terminal_is_truncated() {
        assert_eq!(run(None, CHUNK).1, Verdict::Truncated);
        assert_eq!(
            run(None, &format!("{CHUNK}data: [DONE]\n\n")).1,
            Verdict::Complete
        );
        assert_eq!(
            run(None, &format!("{CHUNK}data: [DONE]")).1,
            Verdict::Complete
        );
        assert_eq!(run(None, "data: {\"tick\":1}\n\n").1, Verdict::Complete);
        assert_eq!(run(None, "data: {\"tick\":").1, Verdict::Truncated);
    }

    #[test]
    fn what_is_no_stream_of_events_passes_as_it_came() {
        let body = "{\n  \"error\": {\"message\": \"no\"}\n}";
        let (items, verdict, dialect) = run(Some(Dialect::OpenAiChat), body);
        assert_eq!((verdict, dialect), (Verdict::Complete, Dialect::Opaque));
        let blocks: Vec<&str> = items.iter().map(|(block, _)| block.as_str()).collect();
        assert_eq!(blocks.concat(), body);
        assert!(items.iter().all(|(_, class)| *class == Class::Opaque));
    }

    #[test]
    fn a_gemini_answer_ends_after_the_last_word_of_a_candidate() {
        let more = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n";
        let last = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n";
        let odd = "data: {\"traceId\":\"t\"}\n\n";
        let hint = Some(Dialect::Gemini);
        assert_eq!(run(hint, more).1, Verdict::Truncated);
        let (items, verdict, dialect) = run(hint, &format!("{odd}{more}{last}{odd}"));
        assert_eq!(
            (items.len(), verdict, dialect),
            (4, Verdict::Complete, Dialect::Gemini)
        );
    }

    #[test]
    fn a_bare_astream_ends_with_its_outermost_run() {
        let object = |event: &str, parents: &str| {
            format!("data: {{\"event\":\"{event}\",\"run_id\":\"r\",\"parent_ids\":{parents}}}\n\n")
        };
        let cut = object("on_chain_start", "[]") + &object("on_chat_model_stream", "[\"r\"]");
        let (_, verdict, dialect) = run(None, &cut);
        assert_eq!((verdict, dialect), (Verdict::Truncated, Dialect::LangServe));
        let whole = cut + &object("on_chain_end", "[]");
        assert_eq!(run(None, &whole).1, Verdict::Complete);
    }

    #[test]
    fn a_name_without_its_data_is_torn() {
        let graph = "event: metadata\ndata: {\"run_id\":\"1\",\"attempt\":1}\n\n";
        let (items, verdict, _) = run(None, &format!("{graph}event: messages\n"));
        assert_eq!((items.len(), verdict), (1, Verdict::Truncated));
        let serve = "event: data\ndata: \"a\"\n\n";
        let hint = Some(Dialect::LangServe);
        let (items, verdict, _) = run(hint, &format!("{serve}event: end\n"));
        assert_eq!((items.len(), verdict), (2, Verdict::Complete));
    }

    #[test]
    fn nothing_follows_a_terminal() {
        let (items, ..) = run(None, &format!("{CHUNK}data: [DONE]\n\n{CHUNK}"));
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn an_event_of_two_dialects_settles_nothing() {
        let both = "event: metadata\ndata: {\"run_id\":\"1\"}\n\n";
        let graph =
            "event: messages\ndata: [{\"content\":\"a\",\"type\":\"AIMessageChunk\"},{}]\n\n";
        for hint in [None, Some(Dialect::LangGraph), Some(Dialect::LangServe)] {
            let (_, verdict, dialect) = run(hint, &format!("{both}{graph}"));
            assert_eq!((verdict, dialect), (Verdict::Complete, Dialect::LangGraph));
        }
        let serve = "event: data\ndata: {\"content\":\"a\"}\n\n";
        let (_, verdict, dialect) = run(None, &format!("{both}{serve}"));
        assert_eq!((verdict, dialect), (Verdict::Truncated, Dialect::LangServe));
        let (_, verdict, _) = run(None, &format!("{both}{serve}event: end\n\n"));
        assert_eq!(verdict, Verdict::Complete);
    }

    #[test]
    fn a_convention_goes_on_after_done_and_ends_with_its_input() {
        let done = "data: {\"type\":\"done\"}\n\n";
        let more = "data: {\"type\":\"token\",\"content\":\"a\"}\n\n";
        let (items, verdict, dialect) = run(None, &format!("{done}{more}"));
        assert_eq!(
            (items.len(), verdict, dialect),
            (2, Verdict::Complete, Dialect::Convention)
        );
    }

    #[test]
    fn a_request_that_promised_too_much_is_not_believed() {
        let (items, verdict, dialect) = run(Some(Dialect::OpenAiChat), "data: {\"tick\":1}\n\n");
        assert_eq!(
            (items.len(), verdict, dialect),
            (1, Verdict::Complete, Dialect::Opaque)
        );
    }
}
