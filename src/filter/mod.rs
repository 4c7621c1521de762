//! Leakage control: hides a model's reasoning and tool calls from the clients of a stream.
//!
//! ```text
//! event ── on a hidden side? ── yes ──> dropped (later blocks are renumbered)
//!            │ no
//!        fields ──> markers in the text ──> block index ──> client
//! ```
//!
//! Events that belong to a hidden side are dropped. In the events that remain, fields that hold reasoning or tool calls
//! are emptied, the text is split at the model's markers ([`scan`]), and texts that are repeated in full are scanned on
//! their own. All other bytes are forwarded unchanged.

mod about;
mod copies;
mod edit;
mod item;
mod json_char;
pub mod markers;
mod named;
mod notes;
mod react_text;
mod redact;
mod reindex;
mod rewrite_text;
mod rules;
pub mod scan;
mod texts;
mod tool_name;

use std::borrow::Cow;
use std::sync::Arc;

use copies::{Copies, Lanes};
use markers::Kind;
pub use markers::Kind as HiddenKind;
pub use notes::Note;
use notes::Teller;
use redact::Redactor;
use reindex::Reindex;
pub use rules::{Hidden, Hide, Rules};
use scan::{Scanner, Visible};
use texts::ScannedText;

use crate::dialect::{Classifier, Dialect};
use crate::event::{Class, Content, Event, Side, TextsOver};
use crate::wire::{Frame, Framing, Payload};

/// The most texts of one stream that are scanned at once; beyond that the oldest one is ended.
const MAX_TEXTS: usize = 64;

/// The largest event that is kept as it is, with its text, to carry what is held back of that text.
const MAX_TEMPLATE_BYTES: usize = 16 * 1024;

/// The filter of one stream.
#[derive(Debug)]
pub struct Filter {
    rules: Arc<Rules>,
    /// Classifies events that were changed.
    reader: Classifier,
    framing: Framing,
    texts: Vec<ScannedText>,
    copies: Copies,
    /// The texts in data of any shape.
    lanes: Lanes,
    reindex: Reindex,
    hidden: Hidden,
    /// The kind of output that is being dropped; `None` once the client was sent something visible.
    run: Option<Kind>,
    /// The tool name in the last status sent to the client.
    told: String,
    teller: Teller,
    note: Option<Note>,
}

impl Filter {
    /// Creates the filter for a stream in this framing.
    pub fn new(rules: Arc<Rules>, framing: Framing) -> Self {
        Self {
            rules,
            reader: Classifier::new(Dialect::Opaque),
            framing,
            texts: Vec::new(),
            copies: Copies::default(),
            lanes: Lanes::default(),
            reindex: Reindex::default(),
            hidden: Hidden::default(),
            run: None,
            told: String::new(),
            teller: Teller::Filter,
            note: None,
        }
    }

    /// Returns the framing of the stream.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns how much was hidden so far.
    pub fn hidden(&self) -> Hidden {
        let mut hidden = self.hidden;
        for scanned in self.texts.iter().chain(&self.lanes.texts) {
            add(&mut hidden.characters, scanned.scanner.hidden);
        }
        hidden
    }

    /// Counts what the filter of one of several agents has hidden.
    pub fn adopt(&mut self, other: Hidden) {
        add(&mut self.hidden.spans, other.spans);
        add(&mut self.hidden.characters, other.characters);
    }

    /// Filters one event. Passes what the client may see of it to `sink`: nothing, or the event, changed or unchanged,
    /// possibly preceded by text that was held back.
    pub fn take<'f>(
        &mut self,
        dialect: Dialect,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        if self.reader.dialect() != dialect {
            self.reader = Classifier::new(dialect);
        }
        if frame.raw {
            sink(block_of(frame), event);
            return;
        }
        if matches!(event.side, Side::Application | Side::Data)
            || (event.class == Class::Opaque && is_unknown(dialect, &frame, event))
        {
            self.take_copy(dialect, frame, event, sink);
            return;
        }
        self.take_own(dialect, frame, event, sink);
        self.end_spans(event, sink);
    }

    /// Filters an event of the dialect itself.
    fn take_own<'f>(
        &mut self,
        dialect: Dialect,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        self.flush_before(dialect, event, sink);
        if dialect.hide_facts().flags_thoughts && event.content == Content::Reasoning {
            self.follow_thought(&frame, event);
        }
        if let Some(kind) = self.side(dialect, event) {
            let hidden = event
                .text
                .map_or(b"".as_slice(), |text| text.of(&frame.block));
            self.reindex.leave_out(dialect, &frame);
            self.leave_out(kind, hidden, &frame, sink);
            return;
        }
        let (flat, was_changed) = edit::flat(frame);
        let event = if was_changed {
            self.read_again(&flat, event)
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
        sink(block_of(frame), &event);
    }

    /// Ends the stream: passes to `sink` the visible text that is still held back.
    pub fn finish(&mut self, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        for scanned in std::mem::take(&mut self.texts) {
            self.end(scanned, sink);
        }
        for scanned in std::mem::take(&mut self.lanes.texts) {
            self.end(scanned, sink);
        }
    }

    /// Classifies an event that was changed. It stays at its place in the stream.
    fn read_again(&mut self, frame: &Frame<'_>, before: &Event) -> Event {
        Event {
            lane: before.lane,
            texts_over: before.texts_over,
            ..*self.reader.classify(frame, &mut None)
        }
    }

    /// Returns the hidden side of an event that is dropped as a whole.
    fn side(&self, dialect: Dialect, event: &Event) -> Option<Kind> {
        // In some dialects a chunk may carry a tool call next to text.
        let mixes = dialect.hide_facts().mixes_calls_with_text;
        let kind = match (event.side, event.class) {
            (Side::Reasoning, _) | (Side::Answer, Class::Reasoning) => Kind::Reasoning,
            (Side::Tool, _) => Kind::Tool,
            (Side::Answer, Class::Tool) if !mixes => Kind::Tool,
            _ => return None,
        };
        // Elements of a JSON array are emptied, not dropped: the first one has no comma before it, so no other can
        // take its place.
        let stays = self.framing == Framing::JsonArray;
        (self.rules.of(kind).hides() && !stays).then_some(kind)
    }

    /// Empties the fields that hold hidden output. Returns `None` if nothing visible is left.
    fn without_fields<'a>(
        &mut self,
        dialect: Dialect,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) -> Option<(Cow<'a, Frame<'a>>, Event)> {
        let rules = Arc::clone(&self.rules);
        let start = match &frame.data {
            Some(Payload::InBlock(span)) => span.start as usize,
            _ => return Some((frame, event)),
        };
        // This text is either scanned as a stream or not shown to anyone.
        let own = event.text.and_then(|text| text.within(start));
        let redactor = Redactor {
            reasoning: rules.reasoning.hides(),
            tools: rules.tools.hides(),
            marks: Some(&rules.marks),
            skip: own.as_slice(),
            beside: dialect.hide_facts().beside,
            traces: false,
            all_texts: false,
            is_state: event.class == Class::State,
        };
        let mut redacted = redactor.run(frame.data());
        let was_redacted = !redacted.edits.is_empty();
        self.take_beside(&frame, &event, &mut redacted, sink);
        let said = event.content;
        let changed = if redacted.edits.is_empty() {
            None
        } else {
            edit::apply(&frame, &redacted.edits)
        };
        let was_changed = changed.is_some();
        let event = match &changed {
            None => event,
            Some(changed) => {
                let mut event = self.read_again(changed, &event);
                if self.framing == Framing::JsonArray && !changed.block.starts_with(b",") {
                    // The first element must stay the first, so it is neither merged nor dropped.
                    event.merge = None;
                    if event.class.is_droppable() {
                        event.class = Class::Structure;
                    }
                }
                event
            }
        };
        add(&mut self.hidden.characters, redacted.hidden);
        let kind = if redacted.hidden[0] > 0 {
            Kind::Reasoning
        } else {
            Kind::Tool
        };
        // Events that carry only a call, and chunks whose only content was hidden, are dropped.
        let is_call =
            event.class == Class::Tool && rules.tools.hides() && self.framing != Framing::JsonArray;
        // An event that only repeats what was said closes a part of the message, and stays.
        let says_nothing = was_changed
            && said != Content::None
            && event.content == Content::None
            && event.class == Class::Structure
            && event.usage.is_none()
            && !dialect.hide_facts().keeps_emptied_events
            && event.side == Side::Answer
            && self.framing != Framing::JsonArray
            && !has_role(changed.as_ref().unwrap_or(&frame).data());
        // A state event repeats what the client was told already.
        if (was_redacted || is_call) && event.class != Class::State {
            let kind = if is_call { Kind::Tool } else { kind };
            self.note_event(kind, &frame, sink);
        }
        let frame = changed.map_or(frame, Cow::Owned);
        (!(is_call || says_nothing)).then_some((frame, event))
    }

    /// Removes what the markers in the text hide. Returns `None` if nothing is left or all of it is held back.
    fn without_marks<'a>(
        &mut self,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) -> Option<(Cow<'a, Frame<'a>>, Event)> {
        // State events that repeat a model's deltas carry text, too.
        let is_text = event.content == Content::Token
            || event.class == Class::State
            || event.side == Side::Application;
        let Some(text) = event.text.filter(|_| is_text) else {
            return Some(self.without_marks_in_lines(frame, event));
        };
        let rules = Arc::clone(&self.rules);
        let mut scanned = self.take_text(event.lane);
        let before = scanned.scanner.spans;
        let raw = text.of(&frame.block);
        let mut visible = Visible::of(raw);
        if event.side == Side::Application {
            scanned.is_copy = true;
            scanned.restart_at_whole(&rules.marks, raw);
        }
        scanned.scanner.feed(&rules.marks, raw, &mut visible);
        if event.side == Side::Application {
            // What an application repeats stays in its own event.
            scanned.scanner.show_held(&mut visible);
        }
        if matches!(event.class, Class::Finish | Class::Done)
            || event.texts_over == TextsOver::InLane
        {
            scanned.scanner.finish(&mut visible);
        }
        self.note_spans(&mut scanned, before, sink);
        let result = if let Some(visible) = visible.changed() {
            let goes = visible.is_empty()
                && event.class == Class::Token
                && self.framing != Framing::JsonArray;
            let changed = rewrite_text::with_text(&frame, &event, visible);
            if scanned.scanner.holds() {
                scanned.last = (changed.as_ref()).map(|(frame, event)| template(frame, event));
            }
            changed
                .filter(|_| !goes)
                .map(|(frame, event)| (Cow::Owned(frame), event))
        } else {
            scanned.last = (scanned.scanner.holds()).then(|| template(&frame, &event));
            Some((frame, event))
        };
        if event.texts_over == TextsOver::InLane {
            add(&mut self.hidden.characters, scanned.scanner.hidden);
            return result;
        }
        self.put_text(scanned, sink);
        result
    }

    /// Removes what markers hide in plain text of several lines. Nothing is held back, because no other event could
    /// carry it.
    fn without_marks_in_lines<'a>(
        &mut self,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
    ) -> (Cow<'a, Frame<'a>>, Event) {
        let (Some(Payload::Joined(text)), Content::Token) = (&frame.data, event.content) else {
            return (frame, event);
        };
        let mut scanner = Scanner::new(&self.rules.marks);
        let mut visible = Visible::of(text);
        scanner.feed(&self.rules.marks, text, &mut visible);
        scanner.finish(&mut visible);
        let Some(visible) = visible.changed() else {
            return (frame, event);
        };
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
}

/// Returns an event to carry what is held back of the text of this one. It does not have to repeat a large text.
fn template(frame: &Frame<'_>, event: &Event) -> (Frame<'static>, Event) {
    let is_large = frame.block.len() > MAX_TEMPLATE_BYTES;
    let short = (is_large)
        .then(|| rewrite_text::with_text(frame, event, Vec::new()))
        .flatten();
    match short {
        Some((frame, short)) => {
            let event = Event {
                content: event.content,
                ..short
            };
            (frame, event)
        }
        None => (frame.clone().into_owned(), *event),
    }
}

/// Reports whether an event is one that its dialect does not know, with data that may be searched.
fn is_unknown(dialect: Dialect, frame: &Frame<'_>, event: &Event) -> bool {
    let says_nothing = event.content == Content::Other
        && event.side == Side::Answer
        && event.texts_over == TextsOver::None
        && event.lane == 0
        && event.text.is_none()
        && event.terminal.is_none()
        && event.call.is_none();
    let is_data = matches!(frame.data().trim_ascii_start().first(), Some(b'{' | b'['));
    says_nothing && is_data && !dialect.is_opaque()
}

/// Returns the block of a frame, without a copy.
fn block_of<'a>(frame: Cow<'a, Frame<'a>>) -> Cow<'a, [u8]> {
    match frame {
        Cow::Borrowed(frame) => Cow::Borrowed(&frame.block),
        Cow::Owned(frame) => frame.block,
    }
}

/// Reports whether a chunk states the role of the speaker, which opens a message.
fn has_role(data: &[u8]) -> bool {
    let has = |word: &[u8]| memchr::memmem::find(data, word).is_some();
    has(b"\"delta\"") && has(b"\"role\"") && has(b"\"assistant\"")
}

fn characters(text: &[u8]) -> u64 {
    // Continuation bytes belong to the character before them.
    let starts = text.iter().filter(|byte| **byte & 0xC0 != 0x80);
    starts.count() as u64
}

fn add(total: &mut [u64; 2], more: [u64; 2]) {
    for (total, more) in total.iter_mut().zip(more) {
        *total += more;
    }
}
