//! Which items of a stream are known, and which texts of them have come.

use super::OpenAiResponses;
use super::call::Call;
use crate::translate::reading::shared::remember;

/// How much of the end of a text is remembered.
const MAX_END_BYTES: usize = 32;

/// A kind of text in an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Answer,
    Summary,
    Thought,
}

impl Lane {
    /// Returns the member of an event that says which text of the item it belongs to.
    pub(super) const fn index(self) -> &'static str {
        match self {
            Self::Answer | Self::Thought => "content_index",
            Self::Summary => "summary_index",
        }
    }
}

/// How much of an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// None of its text, and no call that is ready.
    Nothing,
    /// Some of its text, or all of it.
    Begun,
    Done,
}

/// An item of a response.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) response: u64,
    pub(super) place: Option<u64>,
    pub(super) id: Vec<u8>,
    /// Which texts of each kind have come: one bit for each.
    answers: u64,
    summaries: u64,
    thoughts: u64,
    /// The text that the last piece belongs to, and what identifies it.
    open: Option<(Lane, u64)>,
    msg: Vec<u8>,
    /// The length of that text so far, and its end.
    length: usize,
    end: Vec<u8>,
    pub(super) call: Option<Call>,
    /// Whether it came as a whole.
    pub(super) is_done: bool,
}

impl Item {
    fn said(&mut self, lane: Lane) -> &mut u64 {
        match lane {
            Lane::Answer => &mut self.answers,
            Lane::Summary => &mut self.summaries,
            Lane::Thought => &mut self.thoughts,
        }
    }

    /// Returns how much of it has come.
    pub(super) fn progress(&self) -> Progress {
        let has_text = self.answers | self.summaries | self.thoughts != 0;
        let is_ready = self.call.as_ref().is_some_and(|call| call.is_ready);
        if self.is_done || is_ready {
            Progress::Done
        } else if has_text {
            Progress::Begun
        } else {
            Progress::Nothing
        }
    }

    /// Reports whether pieces of a text have come.
    pub(super) fn has_said(&mut self, lane: Lane, number: u64) -> bool {
        *self.said(lane) & bit(number) != 0
    }

    /// Notes that the open text has gone on by so much, which ends so.
    pub(super) fn go_on(&mut self, length: usize, end: &[u8]) {
        self.length += length;
        self.end.clear();
        self.end.extend_from_slice(end);
    }

    /// Returns what is missing of a text: all of it if no piece has come. A text that does not go on with the pieces is
    /// not told beside them.
    pub(super) fn missing<'a>(&mut self, lane: Lane, number: u64, whole: &'a [u8]) -> &'a [u8] {
        if !self.has_said(lane, number) {
            return whole;
        }
        let is_open = self.open == Some((lane, number));
        let parts = whole.split_at_checked(self.length).filter(|_| is_open);
        match parts {
            Some((come, rest)) if come.ends_with(&self.end) => rest,
            _ => b"",
        }
    }

    /// Notes that a piece of a text has come. Returns what identifies the text.
    pub(super) fn say(&mut self, lane: Lane, number: u64, text: &[u8]) -> &[u8] {
        let end = text.len().saturating_sub(MAX_END_BYTES);
        if self.open != Some((lane, number)) {
            self.length = 0;
            self.open = Some((lane, number));
            *self.said(lane) |= bit(number);
            let place = match (lane, number) {
                (Lane::Answer | Lane::Thought, 0) => String::new(),
                (Lane::Answer | Lane::Thought, number) => format!("-{number}"),
                (Lane::Summary, number) => format!("-summary-{number}"),
            };
            self.msg = [self.id.as_slice(), place.as_bytes()].concat();
        }
        self.go_on(text.len(), text.get(end..).unwrap_or_default());
        &self.msg
    }
}

/// Returns the bit of a text. Texts beyond the 64th share one.
fn bit(number: u64) -> u64 {
    1 << number.min(63)
}

impl OpenAiResponses {
    /// Returns the item at a place of the response, or with this id. It is new if there is none.
    pub(super) fn item(&mut self, place: Option<u64>, id: &[u8]) -> Option<&mut Item> {
        let at = match self.find(place, id) {
            Some(at) => at,
            None => self.push(place, id),
        };
        self.items.get_mut(at)
    }

    /// Finds an item. Some servers give every event another id, others give every item the same
    /// place.
    pub(super) fn find(&self, place: Option<u64>, id: &[u8]) -> Option<usize> {
        let find = |is: &dyn Fn(&Item) -> bool| {
            (self.items.iter()).rposition(|item| item.response == self.responses && is(item))
        };
        if place.is_none() {
            return find(&|item| item.id == id);
        }
        find(&|item| item.place == place && item.id == id)
            .or_else(|| find(&|item| item.place == place))
    }

    /// Finds the item of a call, by the id of the call or by that of the item.
    pub(super) fn find_call(&self, call: &[u8], place: Option<u64>, id: &[u8]) -> Option<usize> {
        let is_it = |item: &Item| item.call.as_ref().is_some_and(|known| known.id == call);
        if !call.is_empty()
            && let Some(at) = self.items.iter().rposition(is_it)
        {
            return Some(at);
        }
        let at = self.find(place, id)?;
        let item = self.items.get(at)?;
        (item.id == id && item.call.is_some()).then_some(at)
    }

    /// Adds an item. Returns where it is.
    pub(super) fn push(&mut self, place: Option<u64>, id: &[u8]) -> usize {
        let before = self.items.len();
        remember(
            &mut self.items,
            Item {
                response: self.responses,
                place,
                id: id.to_vec(),
                ..Item::default()
            },
        );
        if self.items.len() == before {
            // The oldest one was forgotten.
            self.speaker = self.speaker.checked_sub(1).unwrap_or(usize::MAX);
        }
        self.items.len() - 1
    }
}
