//! Looks at the held characters: whether they are a marker, may become one, or are neither.

use super::compare::{Match, compare, compare_close, compare_open};
use super::marks::React;
use super::{Closers, ENDS, HEADERS, MESSAGE, Marks, Scanner, State};
use crate::filter::markers::{Kind, Pair, Place};
use crate::filter::react_text::{self, Label};

/// What the held characters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The first character does not begin a marker.
    Nothing,
    /// They may be the beginning of a marker.
    Perhaps,
    /// A marker, after which this state begins.
    Mark(State),
    /// A label at the start of a line, after which this state begins.
    Label(State),
    /// A label of output that is not hidden: it stays in the text.
    Verbatim,
}

impl Scanner {
    /// Looks for a marker in visible text.
    pub(super) fn look_for_opening(&self, marks: &Marks) -> Found {
        let mut found = Found::Nothing;
        if self.labels != Some(false) && self.line_start && !self.code.is_fenced() {
            match react_text::label(&self.meaning) {
                // An answer may begin with it. The question that an agent repeats is no thought.
                react_text::Look::Is(Label::Question) if marks.react == React::IfFirst => {
                    return Found::Verbatim;
                }
                react_text::Look::Is(label) => return Self::labelled(marks, label),
                react_text::Look::MayBe => found = Found::Perhaps,
                react_text::Look::No => {}
            }
        }
        let first = self.meaning.first().copied().unwrap_or_default();
        if !self.first_bytes.has(first, self.started) {
            return found;
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
        let may_be_tag = !self.code.is_fenced() && (self.line_start || !self.started);
        for (number, pair) in marks.pairs.iter().enumerate() {
            if may_be_tag {
                for mark in Self::closes_alone(pair) {
                    match compare_close(&self.meaning, pair, mark) {
                        Match::Whole => return Found::Mark(State::Visible),
                        Match::Prefix => found = Found::Perhaps,
                        Match::No => {}
                    }
                }
            }
            let may_stand = match pair.place {
                Place::Anywhere => !self.code.is_fenced(),
                Place::LineStart => may_be_tag,
                Place::TextStart => !self.started,
            };
            if !may_stand {
                continue;
            }
            match compare_open(&self.meaning, pair) {
                Match::Whole => {
                    return Found::Mark(State::Hidden(pair.kind, Closers::Pair(number)));
                }
                Match::Prefix => found = Found::Perhaps,
                Match::No => {}
            }
        }
        found
    }

    /// Returns the closing markers that count even without their opening marker: those of thoughts, which the prompt
    /// may have opened, and the special tokens of calls, whose beginning models leave out at times.
    fn closes_alone(pair: &Pair) -> &[String] {
        match (pair.kind, pair.place) {
            (Kind::Reasoning, _) => &pair.close,
            (Kind::Tool, Place::Anywhere) => pair.close.get(..1).unwrap_or_default(),
            (Kind::Tool, Place::LineStart | Place::TextStart) => &[],
        }
    }

    /// Looks for the end of a hidden span.
    pub(super) fn look_for_closing(&self, marks: &Marks, kind: Kind, closers: &Closers) -> Found {
        let mut found = Found::Nothing;
        let mut look = |this: Match, next: State| match this {
            Match::Whole => found = Found::Mark(next),
            Match::Prefix if found == Found::Nothing => found = Found::Perhaps,
            Match::No | Match::Prefix => {}
        };
        match closers {
            Closers::Pair(number) => {
                if let Some(pair) = marks.pairs.get(*number) {
                    for mark in &pair.close {
                        look(compare_close(&self.meaning, pair, mark), State::Visible);
                    }
                }
            }
            Closers::AnyReasoning => {
                for pair in marks.pairs.iter().filter(|pair| pair.kind == kind) {
                    for mark in &pair.close {
                        look(compare_close(&self.meaning, pair, mark), State::Visible);
                    }
                }
            }
            Closers::Harmony => {
                for mark in ENDS {
                    look(compare(&self.meaning, mark), State::Visible);
                }
                for mark in HEADERS {
                    look(compare(&self.meaning, mark), State::Header);
                }
            }
            Closers::Label if self.line_start => match react_text::label(&self.meaning) {
                react_text::Look::Is(label) => return Self::labelled(marks, label),
                react_text::Look::MayBe => return Found::Perhaps,
                react_text::Look::No => {}
            },
            Closers::Label => {}
        }
        found
    }

    /// Looks for the end of a harmony header, which says what kind of message follows.
    pub(super) fn look_for_message(&self, marks: &Marks) -> Found {
        let Some(header) = self.meaning.strip_suffix(MESSAGE) else {
            return Found::Perhaps;
        };
        let has = |word: &[u8]| header.windows(word.len()).any(|part| part == word);
        let kind = if has(b"to=user") {
            return Found::Mark(State::Visible);
        } else if has(b"to=self") {
            Kind::Reasoning
        } else if has(b"to=") {
            Kind::Tool
        } else if has(b"analysis") {
            Kind::Reasoning
        } else {
            // The answer, or the preamble to a call.
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
            Label::Question | Label::Thought => Kind::Reasoning,
            Label::Tool => Kind::Tool,
        };
        if marks.hides(kind) {
            Found::Label(State::Hidden(kind, Closers::Label))
        } else {
            Found::Verbatim
        }
    }
}
