//! Leakage control: which parts of a stream its client does not get.
//!
//! ```text
//! event ── of a hidden side? ── yes ──> gone (its block's index, too)
//!            │ no
//!        fields ──> text marks ──> index ──> client
//! ```
//!
//! Events of a hidden side go as a whole. In those that stay, fields that hold reasoning or calls are emptied, the text
//! is parted at the marks of its model ([`scan`]), and texts that are repeated as a whole are parted once more.
//! Everything else of an event leaves as it came.

mod edit;
mod json_char;
pub mod markers;
mod react;
mod redact;
mod reindex;
mod rules;
pub mod scan;
mod tool_name;

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Poll;

use markers::Kind;
use redact::Redactor;
use reindex::Reindex;
pub use rules::{Hidden, Hide, Rules};
use scan::Scanner;

use crate::dialect::{Classifier, Dialect};
use crate::event::{Class, Content, Event, Side, Step};
use crate::wire::{Frame, Framing, Payload};

/// Texts of one stream that are scanned at once; beyond that the oldest ends.
const MAX_LANES: usize = 64;

/// The filter of one stream.
#[derive(Debug)]
pub struct Filter {
    rules: Arc<Rules>,
    /// Reads what was changed.
    reader: Classifier,
    framing: Framing,
    lanes: Vec<Lane>,
    reindex: Reindex,
    hidden: Hidden,
    /// What is left out at the moment, since the last thing that was seen.
    run: Option<Kind>,
    /// The name of the tool that the client was told of last.
    told: String,
}

/// One text of several.
#[derive(Debug)]
struct Lane {
    id: u64,
    scanner: Scanner,
    /// A hidden call began, and its client was not told yet: its name may follow.
    untold: bool,
    /// The last event of it, to carry what is still held when the text ends.
    last: Option<(Frame<'static>, Event)>,
}

impl Filter {
    /// A filter before the first event of a stream in this framing.
    pub fn new(rules: Arc<Rules>, framing: Framing) -> Self {
        Self {
            rules,
            reader: Classifier::new(Dialect::Opaque),
            framing,
            lanes: Vec::new(),
            reindex: Reindex::default(),
            hidden: Hidden::default(),
            run: None,
            told: String::new(),
        }
    }

    /// What was hidden so far.
    pub fn hidden(&self) -> Hidden {
        let mut hidden = self.hidden;
        for lane in &self.lanes {
            add(&mut hidden.characters, lane.scanner.hidden);
        }
        hidden
    }

    /// Gives `sink` what the client may see of an event: nothing, or the event, changed or not, perhaps with what was
    /// held back in front of it.
    pub fn take(
        &mut self,
        dialect: Dialect,
        frame: &Frame<'_>,
        event: &Event,
        sink: &mut impl FnMut(&[u8], &Event),
    ) {
        if self.reader.dialect() != dialect {
            self.reader = Classifier::new(dialect);
        }
        if frame.raw {
            sink(&frame.block, event);
            return;
        }
        self.flush_before(dialect, event, sink);
        if let Some(kind) = self.side(dialect, event) {
            let hidden = event
                .text
                .map_or(0, |text| characters(text.of(&frame.block)));
            if let Some(total) = self.hidden.characters.get_mut(kind as usize) {
                *total += hidden;
            }
            self.reindex.leave_out(dialect, frame);
            self.note_event(kind, frame, sink);
            return;
        }
        let flat = edit::flat(frame);
        let event = if matches!(flat, Cow::Owned(_)) {
            *self.reader.classify(&flat)
        } else {
            *event
        };
        let Some((frame, event)) = self.without_fields(dialect, flat, event, sink) else {
            return;
        };
        let Some((frame, event)) = self.without_marks(frame, event, sink) else {
            return;
        };
        let (frame, event) = self.reindex.counted(dialect, frame, event);
        let is_blank = event
            .text
            .is_some_and(|text| json_char::is_blank(text.of(&frame.block)));
        if event.content != Content::None && !is_blank {
            self.run = None;
        }
        sink(&frame.block, &event);
    }

    /// The end of the stream: gives `sink` what is still held back and may be seen.
    pub fn finish(&mut self, sink: &mut impl FnMut(&[u8], &Event)) {
        for lane in std::mem::take(&mut self.lanes) {
            self.end(lane, sink);
        }
    }

    /// What must leave before `event`: a text that it ends or interrupts.
    fn flush_before(
        &mut self,
        dialect: Dialect,
        event: &Event,
        sink: &mut impl FnMut(&[u8], &Event),
    ) {
        if event.text.is_some() && event.content == Content::Token {
            // A last piece of text is part of it.
            return;
        }
        let ends_all =
            matches!(event.class, Class::Done | Class::Error) || event.terminal.is_some();
        let Some(at) = self.lanes.iter().position(|lane| lane.id == event.lane) else {
            if ends_all || event.class == Class::Finish {
                self.finish(sink);
            }
            return;
        };
        if ends_all {
            self.finish(sink);
            return;
        }
        // Elsewhere an empty piece of text looks the same.
        let has_brackets = matches!(
            dialect,
            Dialect::AgUi | Dialect::OpenAiResponses | Dialect::VercelUi
        );
        let is_end = event.class == Class::Finish
            || (event.class == Class::Structure && has_brackets)
            || event.call.is_some_and(|call| call.step == Step::Ends);
        if is_end {
            let lane = self.lanes.remove(at);
            self.end(lane, sink);
        } else if matches!(event.class, Class::Structure | Class::Tool) {
            self.interrupt(at, sink);
        }
    }

    /// Something comes amid a text: what is held of it cannot become a mark any more, unless all of it is hidden.
    fn interrupt(&mut self, at: usize, sink: &mut impl FnMut(&[u8], &Event)) {
        let mut visible = Vec::new();
        let Some(lane) = self
            .lanes
            .get_mut(at)
            .filter(|lane| lane.scanner.is_visible())
        else {
            return;
        };
        lane.scanner.finish(&mut visible);
        let last = lane.last.take();
        self.carry(last, &visible, sink);
    }

    /// The side of an event that goes as a whole.
    fn side(&self, dialect: Dialect, event: &Event) -> Option<Kind> {
        // There a chunk may carry a call beside a text.
        let mixes = matches!(
            dialect,
            Dialect::Adk
                | Dialect::Gemini
                | Dialect::LangGraph
                | Dialect::LangServe
                | Dialect::Ollama
                | Dialect::OpenAiChat
        );
        let kind = match (event.side, event.class) {
            (Side::Reasoning, _) | (Side::Answer, Class::Reasoning) => Kind::Reasoning,
            (Side::Tool, _) => Kind::Tool,
            (Side::Answer, Class::Tool) if !mixes => Kind::Tool,
            _ => return None,
        };
        // There the first element has no comma, and another cannot take its place: it is emptied.
        let stays = self.framing == Framing::JsonArray;
        (self.rules.of(kind).hides() && !stays).then_some(kind)
    }

    /// Fields that hold what is hidden, emptied; `None` if nothing is left to see.
    fn without_fields<'a>(
        &mut self,
        dialect: Dialect,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
        sink: &mut impl FnMut(&[u8], &Event),
    ) -> Option<(Cow<'a, Frame<'a>>, Event)> {
        let rules = Arc::clone(&self.rules);
        let start = match &frame.data {
            Some(Payload::InBlock(span)) => span.start as usize,
            _ => return Some((frame, event)),
        };
        let scrub = Redactor {
            reasoning: rules.reasoning.hides(),
            tools: rules.tools.hides(),
            marks: Some(&rules.marks),
            // It is scanned as it comes, or is no text for anybody.
            skip: event
                .text
                .map(|text| text.start as usize - start..text.end as usize - start),
            traces: false,
        };
        let scrubbed = scrub.run(frame.data());
        let source = frame.clone();
        let changed = if scrubbed.edits.is_empty() {
            None
        } else {
            edit::apply(&frame, &scrubbed.edits)
        };
        let (frame, event, was_changed) = match changed {
            None => (frame, event, false),
            Some(frame) => {
                let mut event = *self.reader.classify(&frame);
                if self.framing == Framing::JsonArray && !frame.block.starts_with(b",") {
                    // The first element stays the first.
                    event.merge = None;
                    if event.class.is_droppable() {
                        event.class = Class::Structure;
                    }
                }
                (Cow::Owned(frame), event, true)
            }
        };
        add(&mut self.hidden.characters, scrubbed.hidden);
        let kind = if scrubbed.hidden[0] > 0 {
            Kind::Reasoning
        } else {
            Kind::Tool
        };
        // A call that is nothing but one, or a chunk whose only word was hidden.
        let is_call =
            event.class == Class::Tool && rules.tools.hides() && self.framing != Framing::JsonArray;
        let says_nothing = was_changed
            && event.content == Content::None
            && event.class == Class::Structure
            && event.usage.is_none()
            && dialect != Dialect::Anthropic
            && event.side == Side::Answer
            && self.framing != Framing::JsonArray
            && !has_role(frame.data());
        // A state repeats what was told.
        if (was_changed || is_call) && event.class != Class::State {
            let kind = if is_call { Kind::Tool } else { kind };
            self.note_event(kind, &source, sink);
        }
        (!(is_call || says_nothing)).then_some((frame, event))
    }

    /// The text, without what its marks hide; `None` if nothing is left, or all of it is held back.
    fn without_marks<'a>(
        &mut self,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
        sink: &mut impl FnMut(&[u8], &Event),
    ) -> Option<(Cow<'a, Frame<'a>>, Event)> {
        // Events that repeat a model's deltas carry a text, too.
        let is_text = event.content == Content::Token || event.class == Class::State;
        let Some(text) = event.text.filter(|_| is_text) else {
            return Some(self.without_marks_in_lines(frame, event));
        };
        let rules = Arc::clone(&self.rules);
        let mut lane = match self.lanes.iter().position(|lane| lane.id == event.lane) {
            Some(at) => self.lanes.remove(at),
            None => Lane {
                id: event.lane,
                scanner: Scanner::new(&rules.marks),
                untold: false,
                last: None,
            },
        };
        let before = lane.scanner.spans;
        let raw = text.of(&frame.block);
        let mut visible = Vec::with_capacity(raw.len());
        lane.scanner.feed(&rules.marks, raw, &mut visible);
        if matches!(event.class, Class::Finish | Class::Done) {
            lane.scanner.finish(&mut visible);
        }
        let [thoughts, calls] = lane.scanner.spans;
        if thoughts > before[0] {
            self.note_run(Kind::Reasoning, None, sink);
        }
        lane.untold |= calls > before[1];
        if lane.untold {
            let name = match lane.scanner.called() {
                Poll::Pending if rules.tools == Hide::Status => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
                known @ Poll::Ready(_) => known,
            };
            if let Poll::Ready(name) = name {
                self.note_run(Kind::Tool, name, sink);
                lane.untold = false;
            }
        }
        let result = if visible == raw {
            lane.last = (lane.scanner.holds()).then(|| (Frame::clone(&frame).into_owned(), event));
            Some((frame, event))
        } else {
            let goes = visible.is_empty()
                && event.class == Class::Token
                && self.framing != Framing::JsonArray;
            let changed = edit::with_text(&frame, &event, &visible);
            if lane.scanner.holds() {
                lane.last = changed.clone();
            }
            changed
                .filter(|_| !goes)
                .map(|(frame, event)| (Cow::Owned(frame), event))
        };
        if self.lanes.len() == MAX_LANES {
            let oldest = self.lanes.remove(0);
            self.end(oldest, sink);
        }
        self.lanes.push(lane);
        result
    }

    /// The same for plain text of several lines. Nothing of it is held back: no other event could carry it.
    fn without_marks_in_lines<'a>(
        &mut self,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
    ) -> (Cow<'a, Frame<'a>>, Event) {
        let (Some(Payload::Joined(text)), Content::Token) = (&frame.data, event.content) else {
            return (frame, event);
        };
        let mut scanner = Scanner::new(&self.rules.marks);
        let mut visible = Vec::with_capacity(text.len());
        scanner.feed(&self.rules.marks, text, &mut visible);
        scanner.finish(&mut visible);
        if visible == *text {
            return (frame, event);
        }
        add(&mut self.hidden.characters, scanner.hidden);
        let block = edit::with_lines(&frame, &visible);
        let changed = Frame {
            block: Cow::Owned(block),
            name: None,
            data: None,
            whole: true,
            raw: false,
        };
        (Cow::Owned(changed), event)
    }

    /// A text is over: what is held of it leaves in an event like its last one.
    fn end(&mut self, mut lane: Lane, sink: &mut impl FnMut(&[u8], &Event)) {
        let mut visible = Vec::new();
        lane.scanner.finish(&mut visible);
        add(&mut self.hidden.characters, lane.scanner.hidden);
        if lane.untold {
            self.note_run(Kind::Tool, None, sink);
        }
        self.carry(lane.last, &visible, sink);
    }

    /// Sends a text in an event like the one given.
    fn carry(
        &self,
        like: Option<(Frame<'static>, Event)>,
        text: &[u8],
        sink: &mut impl FnMut(&[u8], &Event),
    ) {
        let Some((frame, event)) = like.filter(|_| !text.is_empty()) else {
            return;
        };
        let Some((mut frame, event)) = edit::with_text(&frame, &event, text) else {
            return;
        };
        // What the event stated beside its text was told.
        let mut event = Event {
            usage: None,
            terminal: None,
            call: None,
            ..event
        };
        if self.framing == Framing::JsonArray && !frame.block.starts_with(b",") {
            // The first element, once more.
            frame.block = Cow::Owned([b",\n", &*frame.block].concat());
            frame.data = None;
            event = Event {
                text: None,
                merge: None,
                ..event
            };
        }
        let (frame, event) = self
            .reindex
            .counted(self.reader.dialect(), Cow::Owned(frame), event);
        sink(&frame.block, &event);
    }

    /// An event, or what it says of `kind`, is left out.
    fn note_event(&mut self, kind: Kind, frame: &Frame<'_>, sink: &mut impl FnMut(&[u8], &Event)) {
        let is_told = kind == Kind::Tool && self.rules.tools == Hide::Status;
        let name = is_told.then(|| tool_name::in_event(frame.data())).flatten();
        self.note_run(kind, name, sink);
    }

    /// Something of `kind` is left out. The first time since something was seen the client may be told, and again of
    /// each other tool.
    fn note_run(&mut self, kind: Kind, name: Option<&str>, sink: &mut impl FnMut(&[u8], &Event)) {
        let goes_on = self.run == Some(kind);
        if goes_on && name.is_none_or(|name| name == self.told) {
            return;
        }
        self.run = Some(kind);
        name.unwrap_or_default().clone_into(&mut self.told);
        if let Some(spans) = self.hidden.spans.get_mut(kind as usize) {
            *spans += u64::from(!goes_on);
        }
        if self.rules.of(kind) != Hide::Status {
            return;
        }
        let words = match (kind, name) {
            (Kind::Reasoning, _) => "Thinking...".to_owned(),
            (Kind::Tool, None) => "Using a tool...".to_owned(),
            (Kind::Tool, Some(name)) => format!("Using {name}..."),
        };
        if let Some(block) = self.reader.dialect().status(self.framing, &words) {
            let event = Event {
                content: Content::Other,
                ..Event::bare(Class::Status)
            };
            sink(block.as_bytes(), &event);
        }
    }
}

/// Whether a chunk tells its client who speaks, which opens a message.
fn has_role(data: &[u8]) -> bool {
    let has = |word: &[u8]| memchr::memmem::find(data, word).is_some();
    has(b"\"delta\"") && has(b"\"role\"") && has(b"\"assistant\"")
}

fn characters(text: &[u8]) -> u64 {
    // Continuation bytes are part of the character in front of them.
    let starts = text.iter().filter(|byte| **byte & 0xC0 != 0x80);
    starts.count() as u64
}

fn add(total: &mut [u64; 2], more: [u64; 2]) {
    for (total, more) in total.iter_mut().zip(more) {
        *total += more;
    }
}
