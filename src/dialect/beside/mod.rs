//! What stands beside a text: decides which members must be equal before two events are merged.
//!
//! A merge keeps one copy of everything outside the texts. A member that differs between two events would be lost with
//! the other copy, and with it who wrote the text, or where. So two events are merged only if they are equal outside
//! their texts, except for members that say nothing about them:
//!
//! 1. Members that are **known** to differ in every event: times, padding and the numbers of events, under the names in
//!    [`varies`], and what the dialect itself leaves out.
//! 2. A member of another name may turn out to be one of them: a short string or a number that was **new** in each
//!    event so far ([`Seen`]). What tells one text from another repeats as soon as a text has a second event.
//!
//! What the client needs ([`Need`]: signatures, citations, ...) is always compared, and never dropped with its event.
//!
//! Identities (an id, a model, a node, an author: see [`is_identity`]) are always compared. A member that is `null`,
//! `false` or empty counts as absent.

mod names;
mod needed;

use std::hash::Hasher;

use super::hash::Fold;
use super::reader::{self, Reader};
use crate::wire::{Frame, Payload};
pub use names::names_writer;
pub(super) use names::{is_identity, varies};
pub(super) use needed::Need;

/// The most members of one event that may turn out to vary. Further ones must be equal.
const MAX_LOOSE: usize = 8;
/// An event with more members than this, which no real event has, is not merged, and they are not looked at.
const MAX_NAMES: usize = 64;
/// The longest string, with its quotes, that may be a time, a counter or a nonce.
const MAX_STAMP_BYTES: usize = 64;

/// The members beside the text of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    /// A hash of those that must be equal.
    strict: Fold,
    /// The members that may turn out to vary: hashes of the name and of the value.
    loose: [(u32, u32); MAX_LOOSE],
    /// How many these are.
    len: usize,
    /// How many members were added by [`Beside::add`].
    added: usize,
    /// How much the client needs them.
    need: Need,
}

impl Beside {
    /// Adds a member whose meaning is not known. Its name decides.
    pub(super) fn add(&mut self, name: &[u8], raw: &[u8]) {
        self.member(name, raw, is_short(raw));
    }

    /// Like [`Beside::add`] for a member of the answer itself, such as a delta, where a word may be a piece of another
    /// text: only what looks like a number, a time or a random string may vary.
    pub(super) fn inner(&mut self, name: &[u8], raw: &[u8]) {
        self.member(name, raw, is_stamp(raw));
    }

    fn member(&mut self, name: &[u8], raw: &[u8], may_vary: bool) {
        self.added += 1;
        if self.added > MAX_NAMES || !reader::says_something(raw) || varies(name, raw) {
            return;
        }
        if is_identity(name) || self.needs(name, raw) {
            self.same(name, raw);
        } else {
            self.vary(name, raw, may_vary);
        }
    }

    /// Notes how much the client needs a member, and reports whether it does at all. Adds nothing.
    pub(super) fn needs(&mut self, name: &[u8], raw: &[u8]) -> bool {
        let need = Need::of(name, raw);
        self.need = self.need.max(need);
        need != Need::None
    }

    /// Notes that the client must send back something that is beside the text.
    pub(super) const fn must_return(&mut self) {
        self.need = Need::Returned;
    }

    /// Adds a member that must be equal.
    pub(super) fn same(&mut self, name: &[u8], raw: &[u8]) {
        if reader::says_something(raw) {
            self.strict.write(name);
            self.strict.write(raw);
        }
    }

    /// Adds a member that must be equal unless it is new in every event of the stream, whatever its name says. Returns a
    /// hash of its value; zero if it says nothing.
    pub(super) fn may_vary(&mut self, name: &[u8], raw: &[u8]) -> u32 {
        if reader::says_something(raw) {
            self.vary(name, raw, is_short(raw))
        } else {
            0
        }
    }

    /// Adds a string without its quotes that may vary.
    pub(super) fn word_may_vary(&mut self, name: &[u8], word: &[u8]) {
        self.vary(name, word, word.len() <= MAX_STAMP_BYTES);
    }

    /// Returns a hash of the value.
    fn vary(&mut self, name: &[u8], value: &[u8], is_short: bool) -> u32 {
        let hash = half(Fold::of(value));
        match self.loose.get_mut(self.len) {
            Some(free) if is_short => {
                *free = (half(Fold::of(name)), hash);
                self.len += 1;
            }
            _ => self.same(name, value),
        }
        hash
    }

    /// Reads the number of a choice or a block, for the key. Zero if there is none; a value that is no number is a
    /// member that must be equal.
    pub(super) fn number(&mut self, reader: &mut Reader<'_>, name: &[u8]) -> Option<u64> {
        let mut at = reader.clone();
        match reader.count()? {
            Some(number) => Some(number),
            None => {
                self.same(name, at.raw()?);
                Some(0)
            }
        }
    }

    /// Reads a word or an id, for the key. Empty if there is none; a value that is no string is a member that must be
    /// equal.
    pub(super) fn word<'a>(&mut self, reader: &mut Reader<'a>, name: &[u8]) -> Option<&'a [u8]> {
        let raw = reader.raw()?;
        match raw
            .strip_prefix(b"\"")
            .and_then(|word| word.strip_suffix(b"\""))
        {
            Some(word) => Some(word),
            None => {
                self.same(name, raw);
                Some(b"")
            }
        }
    }

    fn loose(&self) -> &[(u32, u32)] {
        self.loose.get(..self.len).unwrap_or_default()
    }

    /// Adds something other than a member that must be equal, such as the place of the text.
    pub(super) fn tag(&mut self, word: u64) {
        self.strict.word(word);
    }
}

/// Reports whether the value may be a time, a counter or a nonce.
const fn is_short(raw: &[u8]) -> bool {
    match raw.first() {
        Some(b'"') => raw.len() <= MAX_STAMP_BYTES,
        Some(b'-' | b'0'..=b'9') => true,
        _ => false,
    }
}

/// Reports whether the value looks like a number, a time or a random string: there are digits in it, and no spaces.
fn is_stamp(raw: &[u8]) -> bool {
    is_short(raw) && raw.iter().any(u8::is_ascii_digit) && raw.iter().all(u8::is_ascii_graphic)
}

fn half(hash: u64) -> u32 {
    u32::try_from(hash >> u32::BITS).unwrap_or_default()
}

/// The most members of one stream that are watched. Further ones must be equal.
const MAX_MEMBERS: usize = 16;
/// How many values in succession must be new before a member counts as varying, and how many earlier values each of
/// them is compared with. A stream whose texts take turns has fewer of them.
const WINDOW: usize = 16;

/// What the members beside the texts of one stream have been so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    members: Vec<Member>,
    group: Option<Box<Group>>,
    /// How many events had too many members to be merged.
    crowded: u64,
    /// How much the client needs what was beside the text of the event that is being read.
    need: Need,
}

/// The last object that was read with [`Seen::group`].
#[derive(Debug)]
struct Group {
    /// A hash of its bytes.
    raw: u64,
    beside: Beside,
    key: u64,
    /// Whether it came more than once.
    repeats: bool,
}

/// A member that may turn out to vary.
#[derive(Debug)]
struct Member {
    /// A hash of its name.
    name: u32,
    past: Past,
}

/// The values of a member, as hashes.
#[derive(Debug)]
enum Past {
    /// The member came once.
    Once(u32),
    /// Each value was new.
    New(Box<Window>),
    /// A value came twice. The member tells events apart, for the rest of the stream.
    Repeats,
}

/// The last values of a member whose values were all new.
#[derive(Debug)]
struct Window {
    values: [u32; WINDOW],
    /// How many there were in all.
    count: usize,
}

impl Seen {
    /// Notes how much the client needs the members of the next event. [`Seen::key`] does so, too.
    pub(super) fn note_need(&mut self, beside: &Beside) {
        self.need = self.need.max(beside.need);
    }

    /// Returns how much the client needs what was noted since the last call.
    pub(super) const fn take_need(&mut self) -> Need {
        std::mem::replace(&mut self.need, Need::None)
    }

    /// Notes the members of the next event, and returns a hash of those that must be equal before it is merged.
    pub(super) fn key(&mut self, beside: &Beside) -> u64 {
        self.note_need(beside);
        self.key_of(beside)
    }

    fn key_of(&mut self, beside: &Beside) -> u64 {
        let mut key = beside.strict;
        for (place, (name, value)) in beside.loose().iter().enumerate() {
            if !self.note(place, *name, *value) {
                key.word(u64::from(*name) << u32::BITS | u64::from(*value));
            }
        }
        if beside.added > MAX_NAMES {
            self.crowded += 1;
            key.word(self.crowded);
        }
        key.finish()
    }

    /// Does the same for the members of an object that events repeat as a whole. It is read only if it has changed, and
    /// describes the run, so that the client needs none of it.
    pub(super) fn group(&mut self, raw: &[u8], read: impl FnOnce() -> Beside) -> u64 {
        let raw = Fold::of(raw);
        if let Some(last) = &mut self.group {
            if last.raw == raw {
                last.repeats = true;
                return last.key;
            }
            if last.repeats {
                let names = last.beside.loose().iter().map(|(name, _)| *name);
                for name in names {
                    let known = self.members.iter_mut().find(|member| member.name == name);
                    if let Some(member) = known {
                        member.past = Past::Repeats;
                    }
                }
            }
        }
        let beside = read();
        let key = self.key_of(&beside);
        let group = Group {
            raw,
            beside,
            key,
            repeats: false,
        };
        match &mut self.group {
            Some(last) => **last = group,
            None => self.group = Some(Box::new(group)),
        }
        key
    }

    /// Notes that an event came twice with the same members, without reading them again.
    pub(super) fn repeated(&mut self) {
        for member in &mut self.members {
            member.past = Past::Repeats;
        }
    }

    /// Notes the value of a member, which most events have at the same place. Reports whether the member varies.
    fn note(&mut self, place: usize, name: u32, value: u32) -> bool {
        let is_it = |member: &Member| member.name == name;
        let at = match self.members.get(place) {
            Some(member) if is_it(member) => Some(place),
            _ => self.members.iter().position(is_it),
        };
        match at.and_then(|at| self.members.get_mut(at)) {
            Some(member) => member.note(value),
            None => {
                if self.members.len() < MAX_MEMBERS {
                    if self.members.capacity() == 0 {
                        // Many streams have one, and keep it as long as they last.
                        self.members.reserve_exact(1);
                    }
                    let past = Past::Once(value);
                    self.members.push(Member { name, past });
                }
                false
            }
        }
    }
}

impl Member {
    fn note(&mut self, value: u32) -> bool {
        match &mut self.past {
            Past::Repeats => false,
            Past::Once(first) if *first != value => {
                let mut window = Window {
                    values: [*first; WINDOW],
                    count: 1,
                };
                window.put(value);
                self.past = Past::New(Box::new(window));
                false
            }
            Past::New(window) if !window.values.contains(&value) => {
                window.put(value);
                window.count > WINDOW
            }
            Past::Once(_) | Past::New(_) => {
                self.past = Past::Repeats;
                false
            }
        }
    }
}

impl Window {
    fn put(&mut self, value: u32) {
        if let Some(oldest) = self.values.get_mut(self.count % WINDOW) {
            *oldest = value;
        }
        self.count += 1;
    }
}

/// Returns a hash of the fields of an SSE block beside its data, zero if there are none. They must be equal, too: the
/// event's name, and whether the event has an id. The id itself is new in every event.
pub(super) fn fields(frame: &Frame<'_>) -> u64 {
    let Some(Payload::InBlock(data)) = frame.data else {
        return 0;
    };
    let before = frame.block.get(..data.start as usize).unwrap_or_default();
    let after = frame.block.get(data.end as usize..).unwrap_or_default();
    // Most blocks are nothing but data.
    if before == b"data: " && after == b"\n\n" {
        return 0;
    }
    let mut hash = Fold::default();
    for part in [before, after] {
        for line in part.split(|byte| *byte == b'\n') {
            match line {
                b"" | b"data: " => {}
                line if line.starts_with(b"id:") => hash.write(b"id"),
                line => hash.write(line),
            }
        }
    }
    hash.finish()
}

#[cfg(test)]
mod tests;
