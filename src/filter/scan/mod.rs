//! Parts the visible text of a stream from what its model marks as hidden, however the text is cut.
//!
//! ```text
//!            opening mark                     closing mark
//! Visible ------------------> Hidden(kind) ------------------> Visible
//!     \   <|channel|>, <|start|>            <|message|>        /
//!      '------------------> Header ---------------------------'   (harmony: the header says what follows)
//! ```
//!
//! It works on the raw bodies of JSON strings: what stays visible leaves as it was written, and a character that was
//! cut in two stays so. Held back is only what may become a mark, 256 bytes at most.

mod compare;
mod marks;

use std::task::Poll;

use compare::{Match, compare, compare_tag, is_blank};
pub use marks::{Marks, React};

use super::json_char::JsonChar;
use super::markers::{Kind, Place};
use super::react::{self, Label};
use super::tool_name::{Listener, Style};

/// Longer than any mark, and than any header of harmony that says something.
const MAX_HELD: usize = 256;
/// The marks of harmony that open a header.
const HEADERS: [&[u8]; 2] = [b"<|channel|>", b"<|start|>"];
/// The mark that ends a header.
const MESSAGE: &[u8] = b"<|message|>";
/// The marks that end a message.
const ENDS: [&[u8]; 3] = [b"<|end|>", b"<|return|>", b"<|call|>"];

/// One text on its way.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// What may become a mark: as written, and what it means.
    held: Vec<u8>,
    meaning: Vec<u8>,
    /// Lengths of the characters held, as written and as meant.
    units: Vec<(u8, u8)>,
    /// Only white space since the last line break.
    line_start: bool,
    /// Something visible was said.
    started: bool,
    /// The same in front of the hidden span that goes on: nothing visible came since.
    outer_line_start: bool,
    /// Inside a fence of code that so many backticks opened.
    fence: Option<usize>,
    /// On the line that opened it.
    on_fence: bool,
    /// Backticks at the start of the line.
    ticks: usize,
    /// A label was the last thing: what decorates it, and one space, belong to it.
    after_label: bool,
    /// Lines are looked at for labels; `None` until the first line tells.
    labels: Option<bool>,
    /// For the name of the last hidden call.
    listener: Listener,
    /// Hidden characters, of reasoning and of tools.
    pub hidden: [u64; 2],
    /// Hidden spans that began, of reasoning and of tools.
    pub spans: [u64; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Visible,
    /// Until one of these marks. Without any: for good.
    Hidden(Kind, Closers),
    /// Behind a mark that opens one: its text so far is held.
    Header,
}

/// What ends a hidden span.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Closers {
    /// The marks of the pair with this number.
    Pair(usize),
    /// Any closing mark of reasoning: the opening one was not seen.
    AnyReasoning,
    /// The next mark of harmony.
    Harmony,
    /// The next label.
    Label,
}

impl Scanner {
    /// At the start of a text.
    pub fn new(marks: &Marks) -> Self {
        let state = if marks.starts_hidden && marks.reasoning {
            State::Hidden(Kind::Reasoning, Closers::AnyReasoning)
        } else {
            State::Visible
        };
        let mut spans = [0; 2];
        if state != State::Visible {
            spans = [1, 0];
        }
        Self {
            state,
            held: Vec::new(),
            meaning: Vec::new(),
            units: Vec::new(),
            line_start: true,
            started: false,
            outer_line_start: true,
            fence: None,
            on_fence: false,
            ticks: 0,
            after_label: false,
            labels: match marks.react {
                React::Always => Some(true),
                React::IfFirst => None,
                React::Never => Some(false),
            },
            listener: Listener::default(),
            hidden: [0; 2],
            spans,
        }
    }

    /// The next piece, the raw body of a JSON string. What is visible of it, and of what was held, is appended to
    /// `out` as it was written.
    pub fn feed(&mut self, marks: &Marks, mut body: &[u8], out: &mut Vec<u8>) {
        while let Some((unit, rest)) = JsonChar::first(body) {
            body = rest;
            if self.after_label {
                self.after_label = unit.bytes() == b"*";
                if matches!(unit.bytes(), b"*" | b" ") {
                    continue;
                }
            }
            self.held.extend_from_slice(unit.raw);
            self.meaning.extend_from_slice(unit.bytes());
            let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(u8::MAX);
            self.units.push((length(unit.raw), length(unit.bytes())));
            self.settle(marks, out);
        }
    }

    /// The end of the text: what was held becomes visible, unless it stands in a hidden span.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        while !self.units.is_empty() {
            self.release(out);
        }
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        !self.units.is_empty()
    }

    /// What the last hidden call is called, if it said so; pending while it may still say.
    pub fn called(&self) -> Poll<Option<&str>> {
        let goes_on = matches!(self.state, State::Hidden(Kind::Tool, _));
        self.listener.called(goes_on)
    }

    /// Whether what comes next would be visible.
    pub fn is_visible(&self) -> bool {
        self.state == State::Visible
    }

    /// Decides about what is held until something must be waited for.
    fn settle(&mut self, marks: &Marks, out: &mut Vec<u8>) {
        while !self.units.is_empty() {
            let found = match &self.state {
                State::Visible => self.look_for_opening(marks),
                State::Hidden(kind, closers) => self.look_for_closing(marks, *kind, closers),
                State::Header => self.look_for_message(marks),
            };
            match found {
                Found::Nothing => self.release(out),
                Found::Perhaps if self.held.len() >= MAX_HELD => self.release(out),
                Found::Perhaps => return,
                // What stands in front of its message is held until it is known.
                Found::Mark(State::Header) => self.state = State::Header,
                Found::Mark(next) => {
                    let header = std::mem::take(&mut self.meaning);
                    let pair = match &next {
                        State::Hidden(Kind::Tool, Closers::Pair(number)) => {
                            marks.pairs.get(*number)
                        }
                        _ => None,
                    };
                    self.forget();
                    self.enter(next);
                    match &self.state {
                        State::Hidden(_, Closers::Harmony) => {
                            self.listener.begin_with(&header);
                        }
                        State::Hidden(..) => {
                            self.listener
                                .begin(pair.and_then(|pair| Style::of_mark(&pair.open)));
                        }
                        State::Header | State::Visible => {}
                    }
                }
                Found::Label(next) => {
                    let style = Style::of_label(&self.meaning);
                    self.forget();
                    self.enter(next);
                    self.listener.begin(style);
                    self.line_start = false;
                    self.labels = Some(true);
                    self.after_label = true;
                }
                Found::Verbatim => {
                    let verbatim = std::mem::take(&mut self.held);
                    self.forget();
                    self.labels = Some(true);
                    self.note_visible();
                    out.extend_from_slice(&verbatim);
                    self.state = State::Visible;
                }
            }
        }
    }

    fn look_for_opening(&self, marks: &Marks) -> Found {
        let mut found = Found::Nothing;
        if self.labels != Some(false) && self.line_start && !self.is_fenced() {
            match react::label(&self.meaning) {
                react::Look::Is(label) => return Self::labelled(marks, label),
                react::Look::MayBe => found = Found::Perhaps,
                react::Look::No => {}
            }
        }
        if marks.harmony {
            for mark in HEADERS {
                match compare(&self.meaning, mark) {
                    Match::Whole => return Found::Mark(State::Header),
                    Match::Prefix => found = Found::Perhaps,
                    Match::No => {}
                }
            }
            for mark in ENDS {
                match compare(&self.meaning, mark) {
                    Match::Whole => return Found::Mark(State::Visible),
                    Match::Prefix => found = Found::Perhaps,
                    Match::No => {}
                }
            }
        }
        for (number, pair) in marks.pairs.iter().enumerate() {
            let matching = if pair.is_tag { compare_tag } else { compare };
            // An end without its beginning, which stood in the prompt: a mark all the same.
            if pair.kind == Kind::Reasoning
                && !self.is_fenced()
                && (self.line_start || !self.started)
            {
                for mark in &pair.close {
                    match matching(&self.meaning, mark.as_bytes()) {
                        Match::Whole => return Found::Mark(State::Visible),
                        Match::Prefix => found = Found::Perhaps,
                        Match::No => {}
                    }
                }
            }
            let may_stand = match pair.place {
                Place::Anywhere => !self.is_fenced(),
                Place::LineStart => !self.is_fenced() && (self.line_start || !self.started),
                Place::TextStart => !self.started,
            };
            if !may_stand {
                continue;
            }
            match matching(&self.meaning, pair.open.as_bytes()) {
                Match::Whole => {
                    return Found::Mark(State::Hidden(pair.kind, Closers::Pair(number)));
                }
                Match::Prefix => found = Found::Perhaps,
                Match::No => {}
            }
        }
        found
    }

    fn look_for_closing(&self, marks: &Marks, kind: Kind, closers: &Closers) -> Found {
        let mut found = Found::Nothing;
        let mut look =
            |matching: fn(&[u8], &[u8]) -> Match, mark: &[u8], next: State| match matching(
                &self.meaning,
                mark,
            ) {
                Match::Whole => found = Found::Mark(next),
                Match::Prefix if found == Found::Nothing => found = Found::Perhaps,
                Match::No | Match::Prefix => {}
            };
        match closers {
            Closers::Pair(number) => {
                if let Some(pair) = marks.pairs.get(*number) {
                    let matching = if pair.is_tag { compare_tag } else { compare };
                    for mark in &pair.close {
                        look(matching, mark.as_bytes(), State::Visible);
                    }
                }
            }
            Closers::AnyReasoning => {
                for pair in marks.pairs.iter().filter(|pair| pair.kind == kind) {
                    let matching = if pair.is_tag { compare_tag } else { compare };
                    for mark in &pair.close {
                        look(matching, mark.as_bytes(), State::Visible);
                    }
                }
            }
            Closers::Harmony => {
                for mark in ENDS {
                    look(compare, mark, State::Visible);
                }
                for mark in HEADERS {
                    look(compare, mark, State::Header);
                }
            }
            Closers::Label if self.line_start => match react::label(&self.meaning) {
                react::Look::Is(label) => return Self::labelled(marks, label),
                react::Look::MayBe => return Found::Perhaps,
                react::Look::No => {}
            },
            Closers::Label => {}
        }
        found
    }

    /// The header of a message, which its last mark ends.
    fn look_for_message(&self, marks: &Marks) -> Found {
        let Some(header) = self.meaning.strip_suffix(MESSAGE) else {
            return Found::Perhaps;
        };
        let has = |word: &[u8]| header.windows(word.len()).any(|part| part == word);
        let kind = if has(b"to=") {
            Kind::Tool
        } else if has(b"analysis") {
            Kind::Reasoning
        } else {
            // The answer, or what is said in front of a call.
            return Found::Mark(State::Visible);
        };
        if marks.hides(kind) {
            Found::Mark(State::Hidden(kind, Closers::Harmony))
        } else {
            Found::Mark(State::Visible)
        }
    }

    fn labelled(marks: &Marks, label: Label) -> Found {
        let kind = match label {
            Label::FinalAnswer => return Found::Label(State::Visible),
            Label::Thought => Kind::Reasoning,
            Label::Tool => Kind::Tool,
        };
        if marks.hides(kind) {
            Found::Label(State::Hidden(kind, Closers::Label))
        } else {
            Found::Verbatim
        }
    }

    fn enter(&mut self, next: State) {
        if let State::Hidden(kind, _) = &next
            && let Some(spans) = self.spans.get_mut(*kind as usize)
        {
            *spans += 1;
        }
        match (&self.state, &next) {
            (State::Visible, State::Visible) => self.line_start = false,
            (State::Visible | State::Header, State::Hidden(..)) => {
                self.outer_line_start = self.line_start;
            }
            (_, State::Visible) => self.line_start = self.outer_line_start,
            _ => {}
        }
        self.state = next;
    }

    /// Whether what comes next stands in a fence of code.
    const fn is_fenced(&self) -> bool {
        match self.fence {
            None => self.ticks >= 3,
            Some(opened) => self.ticks < opened,
        }
    }

    /// The first character held is none of a mark: it is shown, or hidden for good.
    fn release(&mut self, out: &mut Vec<u8>) {
        let Some((raw, meant)) = self.units.first().copied() else {
            return;
        };
        let (raw, meant) = (usize::from(raw), usize::from(meant));
        self.units.remove(0);
        let first = self.meaning.first().copied().unwrap_or_default();
        match &self.state {
            State::Hidden(kind, _) => {
                if let Some(hidden) = self.hidden.get_mut(*kind as usize) {
                    *hidden += 1;
                }
                let meant = self.meaning.get(..meant).unwrap_or_default();
                self.listener.hear(meant);
                self.line_start = first == b'\n' || (self.line_start && is_blank(first));
            }
            // A header without an end was none.
            State::Header | State::Visible => {
                self.state = State::Visible;
                out.extend_from_slice(self.held.get(..raw).unwrap_or_default());
                self.show(first);
            }
        }
        self.held.drain(..raw.min(self.held.len()));
        self.meaning.drain(..meant.min(self.meaning.len()));
    }

    /// Where the text is after a visible character.
    fn show(&mut self, first: u8) {
        if first == b'`' {
            if self.line_start || self.ticks > 0 {
                self.ticks = self.ticks.saturating_add(1);
            } else if self.on_fence {
                // Code within a line, in as many backticks.
                self.fence = None;
            }
        } else {
            self.on_fence |= self.fence.is_none() && self.ticks >= 3;
            self.fence = match self.fence {
                None if self.ticks >= 3 => Some(self.ticks),
                Some(opened) if self.ticks >= opened => None,
                fence => fence,
            };
            self.ticks = 0;
        }
        if first == b'\n' {
            self.line_start = true;
            self.on_fence = false;
        } else if !is_blank(first) {
            self.note_visible();
        }
    }

    fn note_visible(&mut self) {
        self.line_start = false;
        self.started = true;
        // The first word of a text tells whether it is written so.
        self.labels.get_or_insert(false);
    }

    fn forget(&mut self) {
        self.held.clear();
        self.meaning.clear();
        self.units.clear();
    }
}

/// What is held is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// No mark, whatever follows its first character.
    Nothing,
    /// The beginning of one, perhaps.
    Perhaps,
    /// A mark, behind which this begins.
    Mark(State),
    /// The same, a label of a line.
    Label(State),
    /// A mark of what is not hidden: it stays.
    Verbatim,
}

#[cfg(test)]
mod tests;
