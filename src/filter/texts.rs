//! Tracks each text of a stream: where it ends or restarts, and when held-back characters are released.

use std::borrow::Cow;
use std::task::Poll;

use super::markers::Kind;
use super::scan::{Marks, Scanner, Visible};
use super::{Filter, Hide, MAX_TEMPLATE_BYTES, MAX_TEXTS, add, block_of, rewrite_text};
use crate::dialect::Dialect;
use crate::event::{Class, Content, Event, Span, Step, TextsOver};
use crate::wire::{Frame, Framing};

/// The scan of one text. A stream may interleave several texts.
#[derive(Debug)]
pub(super) struct ScannedText {
    pub(super) id: u64,
    pub(super) scanner: Scanner,
    /// A hidden call began, and the client was not told yet because the name of the tool may follow.
    pub(super) untold: bool,
    /// The last event of this text: the template for an event that carries what is still held when the text ends.
    pub(super) last: Option<(Frame<'static>, Event)>,
    /// Whether it is in the application's own data, which repeats what the stream says elsewhere.
    pub(super) is_copy: bool,
}

impl ScannedText {
    /// Begins a text.
    pub(super) fn new(id: u64, marks: &Marks) -> Self {
        Self {
            id,
            scanner: Scanner::new(marks),
            untold: false,
            last: None,
            is_copy: false,
        }
    }

    /// Reports whether its template is large even without a text. A stream keeps one of these.
    pub(super) fn has_large_template(&self) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|(frame, _)| frame.block.len() > MAX_TEMPLATE_BYTES)
    }

    /// Lets the text of the application's data begin anew if its next piece, `raw`, is a whole text with whole thoughts
    /// in it: its data may be pieces of a text, or a whole text each time.
    pub(super) fn restart_at_whole(&mut self, marks: &Marks, raw: &[u8]) {
        if !self.scanner.is_visible() || self.scanner.holds() {
            return;
        }
        let mut whole = Scanner::new(marks);
        whole.feed(marks, raw, &mut Visible::of(raw));
        if whole.spans != [0, 0] && whole.is_visible() && !whole.holds() {
            self.scanner.restart(marks);
        }
    }
}

impl Filter {
    /// Takes out the text with this number, or begins it.
    pub(super) fn take_text(&mut self, id: u64) -> ScannedText {
        match self.texts.iter().position(|scanned| scanned.id == id) {
            Some(at) => self.texts.remove(at),
            None => ScannedText::new(id, &self.rules.marks),
        }
    }

    /// Puts back a text that goes on.
    pub(super) fn put_text(
        &mut self,
        scanned: ScannedText,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        if scanned.has_large_template() {
            self.release_large_templates(sink);
        }
        if self.texts.len() == MAX_TEXTS {
            let oldest = self.texts.remove(0);
            self.end(oldest, sink);
        }
        self.texts.push(scanned);
    }

    /// Follows a thought in the member of the answer, which Google's OpenAI API marks with a flag and with tags: the
    /// closing tag is at the beginning of the answer, in an event that has no flag.
    pub(super) fn follow_thought(&mut self, frame: &Frame<'_>, event: &Event) {
        let Some(text) = event.text.filter(|_| self.rules.reasoning.hides()) else {
            return;
        };
        if !is_in_content(&frame.block, text) {
            return;
        }
        let raw = text.of(&frame.block);
        let mut scanned = self.take_text(event.lane);
        if scanned.scanner.is_visible() && scanned.scanner.holds() {
            // The end of a piece of the answer, which has not left yet.
            self.texts.push(scanned);
            return;
        }
        let hidden = scanned.scanner.hidden;
        scanned
            .scanner
            .feed(&self.rules.marks, raw, &mut Visible::of(raw));
        // It is counted with its event.
        scanned.scanner.hidden = hidden;
        // Otherwise what it holds back would be released with the answer.
        if scanned.scanner.is_hidden() && self.texts.len() < MAX_TEXTS {
            self.texts.push(scanned);
        }
    }

    /// Notes the hidden spans that have begun in a text that had as many as `before`.
    pub(super) fn note_spans(
        &mut self,
        scanned: &mut ScannedText,
        before: [u64; 2],
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let [thoughts, calls] = scanned.scanner.spans;
        if thoughts > before[0] {
            self.note_run(Kind::Reasoning, None, sink);
        }
        scanned.untold |= calls > before[1];
        if scanned.untold {
            let name = match scanned.scanner.called() {
                Poll::Pending if self.rules.tools == Hide::Status => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
                known @ Poll::Ready(_) => known,
            };
            if let Poll::Ready(name) = name {
                self.note_run(Kind::Tool, name, sink);
                scanned.untold = false;
            }
        }
    }

    /// Releases the text that `event` ends or interrupts, before `event` itself is sent.
    pub(super) fn flush_before(
        &mut self,
        dialect: Dialect,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        if event.texts_over == TextsOver::All {
            for at in 0..self.texts.len() {
                self.interrupt(at, sink);
            }
            self.begin_data_anew(true);
        }
        if event.texts_over == TextsOver::Perhaps {
            self.begin_data_anew(false);
            let scanned = self
                .texts
                .iter_mut()
                .find(|scanned| scanned.id == event.lane);
            if let Some(scanned) = scanned
                && scanned.scanner.is_visible()
                && !scanned.scanner.holds()
            {
                scanned.scanner.restart(&self.rules.marks);
            }
        }
        if event.class == Class::Tool
            || event.content == Content::Tool
            || matches!(event.texts_over, TextsOver::InLane | TextsOver::All)
        {
            let only_data = self.texts.is_empty() && event.lane == 0;
            self.begin_anew(event.lane, sink);
            self.begin_data_anew(only_data);
        }
        if event.text.is_some() && event.content == Content::Token {
            // The text goes on, even if this is its last piece.
            return;
        }
        // A possible end of one agent's text is none of the others'.
        let is_of_one = event.texts_over == TextsOver::InLane && event.lane != 0;
        let ends_all = matches!(event.class, Class::Done | Class::Error)
            || (event.ends_stream() && !is_of_one);
        let Some(at) = self
            .texts
            .iter()
            .position(|scanned| scanned.id == event.lane)
        else {
            if ends_all || event.class == Class::Finish {
                self.finish(sink);
            }
            return;
        };
        if ends_all {
            self.finish(sink);
            return;
        }
        // In the other dialects an empty piece of text has the same class as the end of a text. A piece of text that must
        // not be dropped has it everywhere.
        let has_brackets = dialect.hide_facts().closes_texts;
        let is_end = event.class == Class::Finish
            || event.texts_over == TextsOver::InLane
            || (event.class == Class::Structure && has_brackets && event.text.is_none())
            || event.call.is_some_and(|call| call.step == Step::Ends);
        if is_end {
            let scanned = self.texts.remove(at);
            self.end(scanned, sink);
        } else if event.class == Class::Tool
            || (event.class == Class::Structure
                && !matches!(event.content, Content::None | Content::Reasoning))
        {
            self.interrupt(at, sink);
        }
    }

    /// Lets texts begin anew after an event that is in another lane, `own`: a model writes again after its tool has
    /// answered, and few dialects say to which text the tool belonged. What is held back of the only text leaves now,
    /// unless the event is known to be another's. Of several texts nobody can say which one it interrupts, so what may
    /// become a marker stays held.
    fn begin_anew(&mut self, own: u64, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        let only = self.texts.len() == 1 && own == 0;
        for at in 0..self.texts.len() {
            let Some(scanned) = self.texts.get_mut(at) else {
                return;
            };
            if scanned.id == own || !scanned.scanner.is_visible() {
                continue;
            }
            if only {
                self.interrupt(at, sink);
            } else if !scanned.scanner.is_undecided() {
                scanned.scanner.restart(&self.rules.marks);
            }
        }
    }

    /// Lets the texts of data begin anew after an event that ends texts or interrupts them. What may become a marker in
    /// them is over only if this is their end, too.
    fn begin_data_anew(&mut self, is_end: bool) {
        for scanned in &mut self.lanes.texts {
            if scanned.scanner.is_visible() && (is_end || !scanned.scanner.is_undecided()) {
                scanned.scanner.restart(&self.rules.marks);
            }
        }
    }

    /// Releases the held part of a text that another event interrupts, because it cannot become a marker any more, and
    /// lets the text begin anew. Inside a hidden span it goes on.
    pub(super) fn interrupt(&mut self, at: usize, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        let mut visible = Visible::of(b"");
        let Some(scanned) = self
            .texts
            .get_mut(at)
            .filter(|scanned| scanned.scanner.is_visible())
        else {
            return;
        };
        scanned.scanner.finish(&mut visible);
        scanned.scanner.restart(&self.rules.marks);
        let last = scanned.last.take();
        self.carry(last, visible.changed(), sink);
    }

    /// Ends the hidden span that a call or a result leaves open, after the event: what the model writes next is another
    /// text, which must not stay hidden because a thought before the call was never closed. What stands beside the call
    /// in its event still belongs to the span. A tool that nobody claims ends the only text; of several texts nobody
    /// can say which one was over, so all stay hidden up to their ends.
    pub(super) fn end_spans(
        &mut self,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        if event.class != Class::Tool && event.content != Content::Tool {
            return;
        }
        let is_of_nobody = event.texts_over == TextsOver::InLane && event.lane == 0;
        let carried = self.texts.iter().filter(|scanned| scanned.is_copy).count();
        let is_only = is_of_nobody && self.texts.len() - carried <= 1;
        let mut of_data = (self.lanes.texts.iter().enumerate())
            .filter(|(_, scanned)| scanned.scanner.is_hidden())
            .map(|(at, _)| at);
        let (first, others) = (of_data.next(), of_data.count());
        let copies = carried + usize::from(first.is_some()) + others;
        if let Some(at) = first.filter(|_| is_only && copies == 1) {
            let scanned = self.lanes.texts.remove(at);
            self.end(scanned, sink);
        }
        let is_over = |scanned: &ScannedText| {
            let is_of_it =
                scanned.id == event.lane || (is_only && (!scanned.is_copy || copies == 1));
            is_of_it && scanned.scanner.is_hidden()
        };
        while let Some(at) = self.texts.iter().position(is_over) {
            let scanned = self.texts.remove(at);
            self.end(scanned, sink);
        }
    }

    /// Releases what is held back of texts whose templates are large, so that a stream keeps only one of these.
    pub(super) fn release_large_templates(&mut self, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        for at in 0..self.texts.len() {
            if self
                .texts
                .get(at)
                .is_some_and(ScannedText::has_large_template)
            {
                self.interrupt(at, sink);
            }
            if let Some(scanned) = self
                .texts
                .get_mut(at)
                .filter(|scanned| scanned.has_large_template())
            {
                // Within a hidden span nothing that is held is visible.
                scanned.last = None;
            }
        }
    }

    /// Ends a text: sends what is held of it in an event like its last one.
    pub(super) fn end(
        &mut self,
        mut scanned: ScannedText,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let mut visible = Visible::of(b"");
        scanned.scanner.finish(&mut visible);
        add(&mut self.hidden.characters, scanned.scanner.hidden);
        if scanned.untold {
            self.note_run(Kind::Tool, None, sink);
        }
        self.carry(scanned.last, visible.changed(), sink);
    }

    /// Sends a text, if there is one, in an event like the one given.
    pub(super) fn carry(
        &self,
        like: Option<(Frame<'static>, Event)>,
        text: Option<Vec<u8>>,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let (Some((frame, event)), Some(text)) = (like, text) else {
            return;
        };
        let Some((mut frame, event)) = rewrite_text::with_text(&frame, &event, text) else {
            return;
        };
        // Everything else in that event was sent with the event itself.
        let mut event = Event {
            usage: None,
            terminal: None,
            call: None,
            ..event
        };
        if self.framing == Framing::JsonArray && !frame.block.starts_with(b",") {
            // The template is the first element of the array, so it needs a comma now.
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
        sink(block_of(frame), &event);
    }
}

/// Reports whether the text is in a member `content`.
fn is_in_content(block: &[u8], text: Span) -> bool {
    let before = block.get(..text.start as usize).unwrap_or_default();
    let name = before.strip_suffix(b"\"").map(<[u8]>::trim_ascii_end);
    let name = name.and_then(|name| name.strip_suffix(b":"));
    name.is_some_and(|name| name.trim_ascii_end().ends_with(b"\"content\""))
}
