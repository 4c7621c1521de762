//! Tells by their ids which message or other item the texts in data belong to.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wire::json::Cursor;

/// What an id belongs to if the texts beside it and below it are its own.
const OWNERS: [&[u8]; 14] = [
    b"activity",
    b"artifact",
    b"block",
    b"call",
    b"item",
    b"message",
    b"msg",
    b"node",
    b"part",
    b"run",
    b"step",
    b"task",
    b"thread",
    b"tool",
];

/// Returns a hash of the ids that say which message or other item the object at the cursor is; 0 if it has none. A plain
/// `id` counts only if it `may_be_plain`.
pub(super) fn ids_of_item(data: &[u8], mut cursor: Cursor<'_>, may_be_plain: bool) -> u64 {
    let mut ids = 0_u64;
    let mut read = || {
        cursor.enter_object()?;
        while let Some(name) = cursor.next_key()? {
            let is_plain = name == b"id";
            if !(names_item(name) || (is_plain && may_be_plain)) {
                cursor.skip()?;
            } else if let Some(range) = cursor.string_or_skip()?
                && let Some(id) = data.get(range)
                && !(is_plain && id.iter().all(u8::is_ascii_digit))
            {
                let mut hasher = DefaultHasher::new();
                (name, id).hash(&mut hasher);
                // The sum does not depend on the order of the members.
                ids = ids.wrapping_add(hasher.finish());
            }
        }
        Some(())
    };
    // What is no JSON is found where its texts are read.
    let _ = read();
    ids
}

/// Reports whether a member with this name says which item the texts beside it belong to. Other ids may be new in every
/// event; an `id` that is a number may count events.
fn names_item(name: &[u8]) -> bool {
    let stem = (name.strip_suffix(b"Id"))
        .or_else(|| name.strip_suffix(b"ID"))
        .or_else(|| name.strip_suffix(b"_id"));
    let ends = |stem: &[u8], owner: &[u8]| {
        let at = stem.len().checked_sub(owner.len());
        at.and_then(|at| stem.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(owner))
    };
    stem.is_some_and(|stem| OWNERS.iter().any(|owner| ends(stem, owner)))
}
