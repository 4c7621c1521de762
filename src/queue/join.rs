//! Makes one block of two by joining the raw bytes of their JSON strings.

use memchr::memchr_iter;

use crate::event::{Keep, Merge, Span};

/// A joined event is not grown beyond this: many clients read lines with a limit of 64 KiB
/// (Python's asyncio streams among them), and half of it leaves room for the envelope.
const MAX_JOINED_BYTES: usize = 32 * 1024;

/// The result of a join: what stays of the older block, and what is written behind it.
#[derive(Debug)]
pub(super) struct Joined {
    /// Bytes of the older block that stay as they are.
    pub(super) kept: usize,
    /// What follows them.
    pub(super) rest: Vec<u8>,
    /// Of the whole.
    pub(super) merge: Merge,
}

/// Joins `second` to `first`; `None` when they are not alike or would grow too large.
pub(super) fn join(first: (&[u8], Merge), second: (&[u8], Merge)) -> Option<Joined> {
    let ((older, a), (newer, b)) = (first, second);
    if a.key != b.key || a.keep != b.keep {
        return None;
    }
    let (one, two) = (a.text.of(older), b.text.of(newer));
    let keep = match a.keep {
        // A reader that comes back after this event asks for what follows the last part of it.
        Keep::First if has_id(newer, b.text) => Keep::Last,
        keep => keep,
    };
    let joined = match keep {
        Keep::First => {
            // In place: only the new text and the short end of the envelope are written.
            let kept = a.text.end as usize;
            let rest = [two, older.get(kept..)?].concat();
            let text = Span::new(a.text.start as usize..kept + two.len())?;
            Joined {
                kept,
                rest,
                merge: Merge { text, ..a },
            }
        }
        Keep::Last => {
            let head = newer.get(..b.text.start as usize)?;
            let tail = newer.get(b.text.end as usize..)?;
            let text = Span::new(head.len()..head.len() + one.len() + two.len())?;
            Joined {
                kept: 0,
                rest: [head, one, two, tail].concat(),
                merge: Merge { text, ..a },
            }
        }
        Keep::Replace => {
            return Some(Joined {
                kept: 0,
                rest: newer.to_vec(),
                merge: b,
            });
        }
    };
    (joined.kept + joined.rest.len() <= MAX_JOINED_BYTES).then_some(joined)
}

/// Whether an `id` line stands beside the text.
fn has_id(block: &[u8], text: Span) -> bool {
    let before = block.get(..text.start as usize).unwrap_or_default();
    let after = block.get(text.end as usize..).unwrap_or_default();
    let begins = |line: &[u8]| line.starts_with(b"id:");
    let has =
        |part: &[u8]| memchr_iter(b'\n', part).any(|end| part.get(end + 1..).is_some_and(begins));
    begins(before) || has(before) || has(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_stays() {
        for (one, two) in [
            ("id: 1\nx(a)y\n", "id: 2\nx(b)y\n"),
            ("x(a)y\nid: 1\n", "x(b)y\nid: 2\n"),
        ] {
            let whole = joined(Keep::First, one, two);
            assert_eq!(whole, two.replace("(b)", "(ab)"));
        }
    }

    /// Joins `<head|text|tail>` blocks and shows the result.
    fn joined(keep: Keep, one: &str, two: &str) -> String {
        let parse = |block: &str| {
            let (start, end) = (block.find('(').unwrap() + 1, block.find(')').unwrap());
            Merge {
                key: 1,
                text: Span::new(start..end).unwrap(),
                keep,
            }
        };
        let Joined { kept, rest, merge } =
            join((one.as_bytes(), parse(one)), (two.as_bytes(), parse(two))).unwrap();
        let whole = [&one.as_bytes()[..kept], &rest].concat();
        assert_eq!(merge, parse(std::str::from_utf8(&whole).unwrap()));
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn the_envelope_is_the_one_that_was_asked_for() {
        assert_eq!(joined(Keep::First, "a(12)b", "ccc(3)d"), "a(123)b");
        assert_eq!(joined(Keep::Last, "a(12)b", "ccc(3)d"), "ccc(123)d");
        assert_eq!(joined(Keep::Replace, "a(12)b", "ccc(3)d"), "ccc(3)d");
    }
}
