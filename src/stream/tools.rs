//! Checks whether the tool calls of a stream are complete: their arguments arrive in pieces, which must add up to one
//! JSON value.

use crate::event::{Call, Step};
use crate::wire::json_complete::Whole;

/// How many open calls of one stream are tracked; agents make only a few at once. Further calls are ignored, unless the
/// end of the oldest call is not signalled: that one then counts as ended.
const MAX_OPEN: usize = 64;

/// The open tool calls of one stream, and the number of incomplete ones among those that have ended.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    open: Vec<Open>,
    faults: u64,
    /// Calls are no longer tracked.
    lost: bool,
}

#[derive(Clone, Debug)]
struct Open {
    group: u32,
    id: u64,
    arguments: Whole,
    /// Whether its end is signalled.
    is_told: bool,
}

impl Tools {
    /// Records a step of a call. `text` is the raw body of the JSON string that came with it.
    pub fn note(&mut self, call: Call, text: &[u8]) {
        if self.lost {
            return;
        }
        match call.step {
            Step::Several => self.lose(),
            Step::Begins | Step::FirstPiece if self.has_begun(call) => self.go_on(call, text),
            Step::Begins | Step::FirstPiece => {
                // The same id again is another call, which replaces the first.
                self.end(|open| open.group == call.group && open.id == call.id);
                self.begin(call, text);
            }
            Step::Piece => self.go_on(call, text),
            Step::Last => {
                self.go_on(call, text);
                self.end(|open| open.group == call.group);
            }
            Step::GoesOn => self.go_on(call, text),
            Step::Ends => self.end(|open| open.group == call.group && open.id == call.id),
            Step::GroupEnds => self.end(|open| open.group == call.group),
        }
    }

    /// Stops tracking calls, because a step could not be read.
    pub fn lose(&mut self) {
        self.open.clear();
        self.lost = true;
    }

    /// Returns how many calls ended incomplete, and how many are still open although their end is signalled or their
    /// arguments are incomplete.
    pub fn faults(&self) -> (u64, usize) {
        let is_open = |open: &&Open| open.is_told || !open.arguments.is_whole();
        (self.faults, self.open.iter().filter(is_open).count())
    }

    /// Reports whether the arguments of the call have begun and are not complete. Some servers repeat the name of a
    /// call with each piece of its arguments, as if it began again. If another call did begin there, the pieces of both
    /// would not add up, and still count as one incomplete call.
    fn has_begun(&self, call: Call) -> bool {
        let mut open = self.open.iter();
        open.find(|open| open.group == call.group && open.id == call.id)
            .is_some_and(|open| open.arguments.is_begun())
    }

    fn go_on(&mut self, call: Call, text: &[u8]) {
        let is_it = |open: &&mut Open| open.group == call.group && open.id == call.id;
        match self.open.iter_mut().find(is_it) {
            Some(open) => open.arguments.feed(text),
            // Some servers omit the first step.
            None => self.begin(call, text),
        }
    }

    fn begin(&mut self, call: Call, text: &[u8]) {
        if self.open.len() == MAX_OPEN {
            if self.open.first().is_none_or(|oldest| oldest.is_told) {
                return;
            }
            let oldest = self.open.remove(0);
            self.faults += u64::from(!oldest.arguments.is_whole());
        }
        let mut arguments = Whole::default();
        arguments.feed(text);
        self.open.push(Open {
            group: call.group,
            id: call.id,
            arguments,
            is_told: !matches!(call.step, Step::FirstPiece | Step::Piece),
        });
    }

    fn end(&mut self, is_over: impl Fn(&Open) -> bool) {
        let faults = &mut self.faults;
        self.open.retain(|open| {
            let over = is_over(open);
            *faults += u64::from(over && !open.arguments.is_whole());
            !over
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(steps: &[(Step, u64, &str)]) -> (u64, usize) {
        let mut tools = Tools::default();
        for (step, id, text) in steps {
            let call = Call {
                step: *step,
                group: 0,
                id: *id,
            };
            tools.note(call, text.as_bytes());
        }
        tools.faults()
    }

    #[test]
    fn calls_that_are_not_whole_are_counted() {
        use Step::{Begins, Ends, FirstPiece, GoesOn, GroupEnds, Last, Piece, Several};
        const BEGIN: (Step, u64, &str) = (Begins, 1, "");
        type Steps = &'static [(Step, u64, &'static str)];
        let table: [(Steps, (u64, usize)); 18] = [
            (&[BEGIN, (GoesOn, 1, "{}"), (Ends, 1, "")], (0, 0)),
            (&[BEGIN, (Ends, 1, "")], (0, 0)),
            (&[BEGIN, (GoesOn, 1, "{"), (Ends, 1, "")], (1, 0)),
            (&[BEGIN, (GoesOn, 1, "{}")], (0, 1)),
            (
                &[(GoesOn, 1, "{}"), (GoesOn, 2, "{}"), (GroupEnds, 0, "")],
                (0, 0),
            ),
            (
                &[(GoesOn, 1, "{"), (GoesOn, 2, "}"), (GroupEnds, 0, "")],
                (2, 0),
            ),
            (&[BEGIN, (GoesOn, 1, "{"), (Last, 1, "}")], (0, 0)),
            (&[BEGIN, (GoesOn, 1, "{"), (Last, 1, "")], (1, 0)),
            (
                &[BEGIN, (Several, 0, ""), (GoesOn, 1, "}"), (Ends, 1, "")],
                (0, 0),
            ),
            (&[(Piece, 1, "{"), (Piece, 1, "}")], (0, 0)),
            (&[(Piece, 1, "{"), (Piece, 2, "{}")], (0, 1)),
            (&[(FirstPiece, 1, "{}"), (FirstPiece, 1, "{}")], (0, 0)),
            (
                &[(Begins, 1, "{"), (Begins, 1, "{}"), (Ends, 1, "")],
                (1, 0),
            ),
            // The name is repeated with each piece.
            (
                &[
                    BEGIN,
                    (Begins, 1, "{\\\"a\\\":"),
                    (Begins, 1, "1}"),
                    (Begins, 1, ""),
                    (GroupEnds, 0, ""),
                ],
                (0, 0),
            ),
            (
                &[(FirstPiece, 1, "{"), (FirstPiece, 1, "}"), (Ends, 1, "")],
                (0, 0),
            ),
            (
                &[
                    (Begins, 1, "{"),
                    (Begins, 2, "{"),
                    (Begins, 1, "}"),
                    (Begins, 2, "}"),
                    (GroupEnds, 0, ""),
                ],
                (0, 0),
            ),
            // Whole calls under one number.
            (
                &[(Begins, 1, "{}"), (Begins, 1, "{}"), (GroupEnds, 0, "")],
                (0, 0),
            ),
            // What is no JSON any more does not swallow the next call.
            (
                &[(Begins, 1, "{]"), (Begins, 1, "{"), (GroupEnds, 0, "")],
                (2, 0),
            ),
        ];
        for (steps, expected) in table {
            assert_eq!(faults(steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn open_calls_are_bounded() {
        let many: Vec<_> = (0..1000).map(|id| (Step::Begins, id, "{")).collect();
        assert_eq!(faults(&many), (0, MAX_OPEN));
        let pieces: Vec<_> = (0..1000).map(|id| (Step::Piece, id, "{")).collect();
        assert_eq!(faults(&pieces), (1000 - MAX_OPEN as u64, MAX_OPEN));
    }
}
