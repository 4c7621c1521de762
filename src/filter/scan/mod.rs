//! Separates the visible text of a stream from the spans that its model marks as hidden, wherever the text is cut.
//!
//! ```text
//!            opening mark                     closing mark
//! Visible ------------------> Hidden(kind) ------------------> Visible
//!     \   <|channel|>, <|start|>            <|message|>        /
//!      '------------------> Header ---------------------------'   (harmony: the header says what follows)
//! ```
//!
//! It works on the raw bodies of JSON strings: visible text is forwarded as it was written, and a character that was
//! split across two events stays split. Only what may become a marker is held back, 256 bytes at most.

mod code;
mod compare;
mod first_bytes;
mod marks;
mod match_marker;
mod visible;

use std::task::Poll;

use code::Code;
use compare::is_blank;
use first_bytes::FirstBytes;
pub use marks::{Marks, React};
use match_marker::Found;
pub use visible::Visible;

use super::json_char::JsonChar;
use super::markers::Kind;
use super::tool_name::{Listener, Style};

/// The most bytes held back: longer than any marker, and than any harmony header that carries information.
const MAX_HELD: usize = 256;
/// The harmony markers that open a header.
const HEADERS: [&[u8]; 2] = [b"<|channel|>", b"<|start|>"];
/// The harmony marker that ends a header.
const MESSAGE: &[u8] = b"<|message|>";
/// The harmony markers that end a message; the last two are those of Muse Glimmer.
const ENDS: [&[u8]; 5] = [
    b"<|end|>",
    b"<|return|>",
    b"<|call|>",
    b"<|eom|>",
    b"<|eot|>",
];

/// The scan of one text.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    first_bytes: FirstBytes,
    /// Characters that may become a marker, as written.
    held: Vec<u8>,
    meaning: Vec<u8>,
    /// How many of the held bytes the client was shown already.
    shown: usize,
    /// The lengths of the held characters, as written and decoded.
    units: Vec<(u8, u8)>,
    /// There was only white space since the last line break.
    line_start: bool,
    /// There was visible text other than white space.
    started: bool,
    /// The value of `line_start` before the current hidden span. It is restored after the span.
    outer_line_start: bool,
    code: Code,
    /// A label has just ended: asterisks after it, and one space, belong to it.
    after_label: bool,
    /// Whether lines are searched for labels; `None` until the first line decides.
    labels: Option<bool>,
    /// Finds the name of the last hidden call.
    listener: Listener,
    /// The number of hidden characters, of reasoning and of tools.
    pub hidden: [u64; 2],
    /// The number of hidden spans that began, of reasoning and of tools.
    pub spans: [u64; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Visible,
    /// A hidden span, until one of these markers. If there is none, it extends to the end of the text.
    Hidden(Kind, Closers),
    /// A harmony header, whose text so far is held.
    Header,
}

/// What ends a hidden span.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Closers {
    /// The closing markers of the pair with this number.
    Pair(usize),
    /// Any closing marker of reasoning, because the opening marker was not in the text.
    AnyReasoning,
    /// The next harmony marker.
    Harmony,
    /// The next label.
    Label,
}

impl Scanner {
    /// Creates a scanner for a new text.
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
            first_bytes: FirstBytes::new(marks),
            held: Vec::new(),
            meaning: Vec::new(),
            shown: 0,
            units: Vec::new(),
            line_start: true,
            started: false,
            outer_line_start: true,
            code: Code::default(),
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

    /// Lets the text begin anew after what was scanned: a marker of its beginning is a marker again. Nothing may be
    /// held back.
    pub fn restart(&mut self, marks: &Marks) {
        let new = Self::new(marks);
        *self = Self {
            state: std::mem::replace(&mut self.state, State::Visible),
            listener: std::mem::take(&mut self.listener),
            hidden: self.hidden,
            spans: self.spans,
            ..new
        };
    }

    /// Scans the next piece, the raw body of a JSON string. Appends what is visible of it and of what was held to
    /// `out`, as it was written.
    pub fn feed(&mut self, marks: &Marks, mut body: &[u8], out: &mut Visible<'_>) {
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

    /// Ends the text: what was held becomes visible, unless it is inside a hidden span.
    pub fn finish(&mut self, out: &mut Visible<'_>) {
        while !self.units.is_empty() {
            self.release(out);
        }
    }

    /// Shows what may become a marker, and goes on looking: of a marker that was shown in part, only the rest is hidden.
    /// What may be part of a hidden span is not shown, and the header of a message never.
    pub fn show_held(&mut self, out: &mut Visible<'_>) {
        if self.is_visible() {
            out.extend(self.held.get(self.shown..).unwrap_or_default());
        }
        if !self.is_hidden() {
            self.shown = self.held.len();
        }
    }

    /// Ends a hidden span that a label has opened, which no mark closes, and lets the text begin anew after it.
    pub fn end_labelled(&mut self, marks: &Marks) {
        if matches!(self.state, State::Hidden(_, Closers::Label)) {
            self.finish(&mut Visible::of(b""));
            self.state = State::Visible;
            self.restart(marks);
        }
    }

    /// Reports whether the text is inside a hidden span that only a mark closes.
    pub const fn is_open(&self) -> bool {
        matches!(&self.state, State::Hidden(_, closers) if !matches!(closers, Closers::Label))
    }

    /// Reports whether something is held back.
    pub const fn holds(&self) -> bool {
        self.shown < self.held.len()
    }

    /// Reports whether the end of the text so far may be part of a marker, shown or not.
    pub const fn is_undecided(&self) -> bool {
        !self.units.is_empty()
    }

    /// Returns the tool name of the last hidden call, if it stated one; pending while it may still do so.
    pub fn called(&self) -> Poll<Option<&str>> {
        let goes_on = matches!(self.state, State::Hidden(Kind::Tool, _));
        self.listener.called(goes_on)
    }

    /// Reports whether the next character would be visible.
    pub fn is_visible(&self) -> bool {
        self.state == State::Visible
    }

    /// Reports whether the text is inside a hidden span.
    pub const fn is_hidden(&self) -> bool {
        matches!(self.state, State::Hidden(..))
    }

    /// Processes the held characters until more input is needed to decide.
    fn settle(&mut self, marks: &Marks, out: &mut Visible<'_>) {
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
                // The header is held until it is complete.
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
                            self.listener.begin_with_header(&header);
                        }
                        State::Hidden(..) => {
                            let style = pair.and_then(|pair| Style::of_mark(&pair.open));
                            self.listener.begin_with_mark(style, &header);
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
                    let shown = self.shown;
                    self.forget();
                    self.labels = Some(true);
                    self.note_visible();
                    out.extend(verbatim.get(shown..).unwrap_or_default());
                    self.state = State::Visible;
                }
            }
        }
    }

    fn enter(&mut self, next: State) {
        if let State::Hidden(kind, _) = &next
            && let Some(spans) = self.spans.get_mut(*kind as usize)
        {
            *spans += 1;
        }
        match (&self.state, &next) {
            (State::Visible | State::Header, State::Hidden(..)) => {
                self.outer_line_start = self.line_start;
            }
            (State::Hidden(..) | State::Header, State::Visible) => {
                self.line_start = self.outer_line_start;
            }
            _ => {}
        }
        self.state = next;
    }

    /// Releases the first held character, which does not begin a marker: it is visible text, or part of a hidden span.
    fn release(&mut self, out: &mut Visible<'_>) {
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
            // A header that does not end is ordinary text.
            State::Header | State::Visible => {
                self.state = State::Visible;
                if self.shown == 0 {
                    out.extend(self.held.get(..raw).unwrap_or_default());
                }
                self.show(first);
            }
        }
        self.shown = self.shown.saturating_sub(raw);
        self.held.drain(..raw.min(self.held.len()));
        self.meaning.drain(..meant.min(self.meaning.len()));
    }

    /// Tracks lines and code after a visible character.
    fn show(&mut self, first: u8) {
        self.code.show(first, self.line_start);
        if first == b'\n' {
            self.line_start = true;
        } else if !is_blank(first) {
            self.note_visible();
        }
    }

    fn note_visible(&mut self) {
        self.line_start = false;
        self.started = true;
        // The first visible word decides whether the text uses labels.
        self.labels.get_or_insert(false);
    }

    fn forget(&mut self) {
        self.held.clear();
        self.meaning.clear();
        self.shown = 0;
        self.units.clear();
    }
}

#[cfg(test)]
mod tests;
