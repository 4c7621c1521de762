//! Remembers a conversation as a whole: for answers in one piece, and for records of what was said.
//!
//! Text stays the raw body of a JSON string. What is kept is bounded. Beyond the bound, text is cut where a character
//! ends and values are left out, and `is_truncated` says so.
//!
//! `item` is what is kept: one thing after the other, and how it ended.

mod item;

pub(super) use item::{Called, Ending, Input, Item, Outcome, Said};

use super::action::{Action, Args, Call, Facts, Kind, OpenText};
use super::cut;
use super::part::{By, Reason};

/// The most texts, calls, interrupts and steps that are kept.
const MAX_ITEMS: usize = 2048;
/// The most lines about what is going on. They are short.
const MAX_LINES: usize = 256;
/// What names, arguments and results may take at least: small bounds are meant for text.
const MIN_VALUE_BYTES: usize = 64 * 1024;

/// A conversation so far.
#[derive(Debug)]
pub(super) struct Gathered {
    items: Vec<Item>,
    ending: Option<Ending>,
    /// How many of the items are lines about what is going on. Those have their own bound.
    lines: usize,
    /// How many more bytes of text are kept.
    text_room: usize,
    /// How many more bytes of everything else are kept. It has its own bound, so that a large result does not cost the
    /// end of the answer.
    value_room: usize,
    /// Something was left out.
    truncated: bool,
    /// Text, or a call that a client may have to run, is not complete.
    cut: bool,
}

impl Gathered {
    /// Creates one that keeps this many bytes of text, and as many of everything else.
    pub(super) const fn new(max_text_bytes: usize) -> Self {
        let value_room = if max_text_bytes > MIN_VALUE_BYTES {
            max_text_bytes
        } else {
            MIN_VALUE_BYTES
        };
        Self {
            items: Vec::new(),
            ending: None,
            lines: 0,
            text_room: max_text_bytes,
            value_room,
            truncated: false,
            cut: false,
        }
    }

    /// Notes that something was left out.
    pub(super) const fn leave_out(&mut self) {
        self.truncated = true;
    }

    /// Adds a line about what is going on to the reasoning. Returns false if there are too many.
    pub(super) fn add_line(&mut self, body: Vec<u8>) -> bool {
        let fits = self.lines < MAX_LINES;
        if fits {
            self.lines += 1;
            self.items.push(Item::Text(Said {
                kind: Kind::Reasoning,
                msg: Vec::new(),
                // No text of the conversation has this number.
                number: 0,
                body,
            }));
        }
        fits
    }

    /// Takes the next action. Run, model and token counts stay in the facts.
    pub(super) fn take(&mut self, _: &Facts, action: &Action<'_>) {
        match action {
            Action::NextStep => {
                self.add(Item::Step, 0);
            }
            Action::TextDelta(open, piece) => self.piece(open, piece),
            Action::ToolStart(call) => self.start_call(call),
            Action::ToolReady { call, args, .. } => self.ready(call, *args),
            Action::ToolResult {
                call,
                ok,
                content,
                partial,
            } => {
                let outcome = Outcome {
                    ok: *ok,
                    content: content.to_vec(),
                    partial: *partial,
                };
                self.result(call.number, outcome);
            }
            Action::Interrupt {
                id,
                reason,
                payload,
            } => {
                let interrupt = Item::Interrupt {
                    id: id.to_vec(),
                    reason: reason.to_vec(),
                    payload: payload.to_vec(),
                };
                self.add(interrupt, id.len() + reason.len() + payload.len());
            }
            Action::End(reason) => self.ending = Some(Ending::Finished(*reason)),
            Action::Stopped => self.ending = Some(Ending::Stopped),
            Action::Error { code, message } => {
                self.ending = Some(Ending::Failed {
                    code: code.to_vec(),
                    message: message.to_vec(),
                });
            }
            Action::Start
            | Action::TextStart(_)
            | Action::TextEnd(_)
            | Action::ToolArgs(..)
            | Action::Status { .. }
            | Action::Step { .. }
            | Action::State(..)
            | Action::Message { .. }
            | Action::Finish(..)
            | Action::Raw { .. } => {}
        }
    }

    /// Returns what was said, in order.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Returns the calls, in order.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Called> {
        self.items.iter().filter_map(|item| match item {
            Item::Call(call) => Some(call),
            _ => None,
        })
    }

    /// Returns the texts, in order.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Said> {
        self.items.iter().filter_map(|item| match item {
            Item::Text(said) => Some(said),
            _ => None,
        })
    }

    /// Returns how it is over, if it is.
    pub(super) const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Reports whether something was left out because of its length.
    pub(super) const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns why the run is over. What is not complete has ended because of its length.
    pub(super) const fn reason(&self) -> Reason {
        match &self.ending {
            Some(Ending::Finished(Reason::Other | Reason::Stop | Reason::ToolCalls))
                if self.cut =>
            {
                Reason::Length
            }
            Some(Ending::Finished(reason)) => *reason,
            Some(Ending::Failed { .. }) => Reason::Error,
            Some(Ending::Stopped) => Reason::Cancelled,
            None => Reason::Other,
        }
    }

    /// Returns the arguments of a call that has no result, if they are complete. Nobody runs the calls of a stopped
    /// run.
    pub(super) fn to_run<'a>(&self, call: &'a Called) -> Option<&'a Input> {
        let is_stopped = matches!(self.ending, Some(Ending::Stopped));
        let input = call.input.as_ref();
        input.filter(|_| !is_stopped && call.result.is_none())
    }

    fn piece(&mut self, open: &OpenText, piece: &[u8]) {
        let is_same = |item: &Item| matches!(item, Item::Text(text) if text.number == open.number);
        if !self.items.iter().rev().any(is_same) {
            let said = Said {
                kind: open.kind,
                msg: open.msg.clone(),
                number: open.number,
                body: Vec::new(),
            };
            if self.text_room == 0 || !self.add(Item::Text(said), open.msg.len()) {
                self.truncated = true;
                self.cut = true;
                return;
            }
        }
        let Some(Item::Text(text)) = self.items.iter_mut().rfind(|item| is_same(item)) else {
            return;
        };
        let kept = cut::length(piece, self.text_room);
        text.body
            .extend_from_slice(piece.get(..kept).unwrap_or_default());
        self.text_room -= kept;
        if kept < piece.len() {
            cut::drop_half(&mut text.body);
            let is_empty = text.body.is_empty();
            // A shorter piece that still fits would leave a gap.
            self.text_room = 0;
            self.truncated = true;
            self.cut = true;
            if is_empty {
                self.items.retain(|item| !is_same(item));
            }
        }
    }

    fn start_call(&mut self, call: &Call) {
        let called = Called {
            id: call.id.clone(),
            name: call.name.clone(),
            by: call.by,
            number: call.number,
            input: None,
            result: None,
        };
        let fits = self.add(Item::Call(called), call.id.len() + call.name.len());
        self.cut |= !fits && call.by != By::Agent;
    }

    fn ready(&mut self, call: &Call, args: Args<'_>) {
        if self.call_mut(call.number).is_none() {
            return;
        }
        let (Args::Json(bytes) | Args::Broken(bytes) | Args::Cut(bytes)) = args;
        // The name may be known only by now.
        let fits = self.spend(bytes.len() + call.name.len());
        self.cut |= !fits && call.by != By::Agent;
        if fits && let Some(known) = self.call_mut(call.number) {
            known.name.clone_from(&call.name);
            known.input = Some(match args {
                Args::Json(value) => Input::Json(value.to_vec()),
                Args::Broken(text) | Args::Cut(text) => Input::Broken(text.to_vec()),
            });
        }
    }

    fn result(&mut self, number: u64, mut outcome: Outcome) {
        let Some(known) = self.call_mut(number) else {
            return;
        };
        // It takes the place of a partial one.
        let before = known.result.take();
        self.value_room += before.map_or(0, |before| before.content.len());
        if !self.spend(outcome.content.len()) {
            outcome.content = Vec::new();
        }
        if let Some(known) = self.call_mut(number) {
            known.result = Some(outcome);
        }
    }

    fn call_mut(&mut self, number: u64) -> Option<&mut Called> {
        self.items.iter_mut().rev().find_map(|item| match item {
            Item::Call(call) if call.number == number => Some(call),
            _ => None,
        })
    }

    /// Adds an item whose strings have this many bytes. Returns false if there is no room for it.
    fn add(&mut self, item: Item, bytes: usize) -> bool {
        let fits = self.items.len() - self.lines < MAX_ITEMS && self.spend(bytes);
        self.truncated |= !fits;
        if fits {
            self.items.push(item);
        }
        fits
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.value_room.checked_sub(bytes);
        self.truncated |= left.is_none();
        self.value_room = left.unwrap_or(self.value_room);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::part::Part;
    use crate::translate::writer::whole::testing::{
        Last, call_of, gather, reasoning, text, weather,
    };

    #[test]
    fn everything_is_kept_in_order() {
        let (gathered, conversation) = gather(&weather(By::Agent), Last::Finish, 1000);
        let [
            Item::Text(thought),
            Item::Text(first),
            Item::Call(call),
            Item::Step,
            Item::Text(second),
        ] = gathered.items()
        else {
            panic!("{gathered:?}")
        };
        assert_eq!(thought.kind, Kind::Reasoning);
        assert_eq!(thought.msg, b"m1");
        assert_eq!(first.body, b"Let me look.");
        assert_eq!(call.id, b"c1");
        assert_eq!(call.name, b"wx");
        assert!(matches!(&call.input, Some(Input::Json(args)) if args == b"{\"city\":\"Oslo\"}"));
        let result = call.result.as_ref().unwrap();
        assert!(result.ok && !result.partial);
        assert_eq!(result.content(), b"\"4 C\"");
        assert_eq!(second.body, b"It is 4 C in Oslo.");
        assert_eq!(gathered.reason(), Reason::Stop);
        assert!(!gathered.is_truncated());
        assert_eq!(conversation.facts.counts().unwrap().output, 18);
    }

    #[test]
    fn text_is_cut_where_a_character_ends() {
        let cases: &[(&[&str], usize, &str)] = &[
            (&["abc", "def"], 6, "abcdef"),
            (&["abc", "def"], 5, "abcde"),
            (&["abc", "def"], 3, "abc"),
            // A piece that still fits is not added after one that did not.
            (&["ab", "\\u00e9", "c"], 4, "ab"),
            // The halves of one character in two pieces.
            (&["a\\uD83D", "\\uDE00"], 7, "a"),
            (&["a\\uD83D", "\\uDE00"], 12, "a"),
            (&["a\\uD83D", "\\uDE00"], 13, "a\\uD83D\\uDE00"),
            (&["\\uD83D", "\\uDE00"], 6, ""),
            (&["a"], 0, ""),
        ];
        for (pieces, max, expected) in cases {
            let parts: Vec<Part<'_>> = pieces.iter().map(|piece| text("m1", piece)).collect();
            let (gathered, _) = gather(&parts, Last::Finish, *max);
            let body: &[u8] = match gathered.items() {
                [Item::Text(said)] => &said.body,
                [] => b"",
                other => panic!("{other:?}"),
            };
            assert_eq!(body, expected.as_bytes(), "{pieces:?} {max}");
            let is_cut = pieces.concat() != *expected;
            assert_eq!(gathered.is_truncated(), is_cut, "{pieces:?} {max}");
            let is_short = gathered.reason() == Reason::Length;
            assert_eq!(is_short, is_cut, "{pieces:?} {max}");
        }
    }

    #[test]
    fn values_that_are_too_large_are_left_out() {
        let large = vec![b'1'; MIN_VALUE_BYTES + 1];
        let result = |content: &[u8], partial| Part::ToolResult {
            id: b"c1".into(),
            name: b"".into(),
            ok: true,
            content: content.to_vec().into(),
            partial,
        };
        let half = vec![b'1'; MIN_VALUE_BYTES / 2 + 1];
        // The last content takes the place of the one before, whose room it has.
        let cases: [(Vec<Part<'_>>, &[u8], bool); 3] = [
            (vec![result(&large, false)], b"null", true),
            (
                vec![result(&half, true), result(&half, false)],
                &half,
                false,
            ),
            (vec![result(&large, true), result(b"2", false)], b"2", true),
        ];
        for (results, expected, truncated) in cases {
            let mut parts = call_of("c1", "wx", By::Agent);
            parts.extend(results);
            parts.push(text("m1", "Done."));
            let (gathered, _) = gather(&parts, Last::Finish, 100);
            let call = gathered.calls().next().unwrap();
            assert_eq!(call.result.as_ref().unwrap().content(), expected);
            assert_eq!(gathered.is_truncated(), truncated);
            // The answer is complete.
            assert_eq!(gathered.reason(), Reason::Stop);
        }
    }

    #[test]
    fn the_number_of_items_is_bounded() {
        let mut parts = Vec::new();
        for _ in 0..MAX_ITEMS {
            parts.extend([text("m1", "a"), reasoning("m1", "b")]);
        }
        let (gathered, _) = gather(&parts, Last::Finish, 1 << 20);
        assert_eq!(gathered.items().len(), MAX_ITEMS);
        assert!(gathered.is_truncated());
        assert_eq!(gathered.reason(), Reason::Length);
    }
}
