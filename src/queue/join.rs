//! Joins two blocks into one by concatenating the raw bytes of their JSON strings.

use memchr::memchr_iter;

use super::lists::{self, List};
use crate::event::{Keep, Merge, Span};

/// The largest joined event. Many clients read lines with a limit of 64 KiB
/// (Python's asyncio streams among them), and half of it leaves room for the envelope.
const MAX_JOINED_BYTES: usize = 32 * 1024;
/// The limit for events with lists or copies beside the text, where each join reads the whole event.
const MAX_JOINED_LIST_BYTES: usize = 4 * 1024;

/// The result of a join: how much of the older block stays, and what is written after it.
#[derive(Debug)]
pub(super) struct Joined {
    /// How many bytes at the start of the older block stay unchanged.
    pub(super) kept: usize,
    /// The bytes that follow them.
    pub(super) rest: Vec<u8>,
    /// How the joined event can be merged in turn.
    pub(super) merge: Merge,
}

/// Joins `second` to `first`. Returns `None` if they are not alike or would grow too large.
pub(super) fn join(first: (&[u8], Merge), second: (&[u8], Merge)) -> Option<Joined> {
    let ((older, a), (newer, b)) = (first, second);
    if (a.key, a.keep, a.lists, a.copies) != (b.key, b.keep, b.lists, b.copies) {
        return None;
    }
    let (one, two) = (a.text.of(older), b.text.of(newer));
    let keep = match a.keep {
        // A client that resumes after this event asks for what follows its last part.
        Keep::First if has_id(newer, b.text) => Keep::Last,
        keep => keep,
    };
    let joined = match keep {
        Keep::First | Keep::Last if a.lists || a.copies > 0 => with_more(first, second, keep)?,
        Keep::First => {
            // Joins in place: only the new text and the short end of the envelope are written.
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

/// Joins events with lists or copies beside the text: each list is extended by the entries of the other event's list,
/// and each copy by the other event's copy.
fn with_more(first: (&[u8], Merge), second: (&[u8], Merge), keep: Keep) -> Option<Joined> {
    let ((older, a), (newer, b)) = (first, second);
    if older.len() + newer.len() > MAX_JOINED_LIST_BYTES {
        return None;
    }
    let olds = lists::beside(older, a.text, a.copies)?;
    let news = lists::beside(newer, b.text, b.copies)?;
    let of = |list: &List<'_>| (list.name.to_vec(), list.is_text);
    if olds.is_empty() || !olds.iter().map(of).eq(news.iter().map(of)) {
        return None;
    }
    let stays_first = keep == Keep::First;
    let (base, text, other) = if stays_first {
        (older, a.text, b.text.of(newer))
    } else {
        (newer, b.text, a.text.of(older))
    };
    let at = if stays_first { text.end } else { text.start };
    // Each position in the block that stays, and what is inserted there.
    let mut added = vec![(at as usize, [other, b""])];
    for (old, new) in olds.into_iter().zip(news) {
        let is_only = old.entries.is_empty() || new.entries.is_empty();
        let comma: &[u8] = if is_only || old.is_text { b"" } else { b"," };
        added.push(if stays_first {
            (old.entries.end, [comma, newer.get(new.entries)?])
        } else {
            (new.entries.start, [older.get(old.entries)?, comma])
        });
    }
    added.sort_by_key(|(at, _)| *at);

    let kept = added.first().map_or(0, |(at, _)| *at);
    let kept = if stays_first { kept } else { 0 };
    let mut rest = Vec::with_capacity(newer.len());
    let (mut done, mut start) = (kept, text.start as usize);
    for (at, parts) in added {
        rest.extend_from_slice(base.get(done..at)?);
        let before = rest.len();
        rest.extend(parts.into_iter().flatten());
        done = at;
        if at < text.start as usize {
            start += rest.len() - before;
        }
    }
    rest.extend_from_slice(base.get(done..)?);
    let text = Span::new(start..start + text.len() + other.len())?;
    Some(Joined {
        kept,
        rest,
        merge: Merge { text, ..a },
    })
}

/// Reports whether the block has an `id` line outside the text.
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

    /// Joins two `head(text)tail` blocks and returns the result.
    fn joined(keep: Keep, one: &str, two: &str) -> String {
        let parse = |block: &str| {
            let (start, end) = (block.find('(').unwrap() + 1, block.find(')').unwrap());
            Merge {
                key: 1,
                text: Span::new(start..end).unwrap(),
                keep,
                lists: false,
                copies: 0,
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

    #[test]
    fn lists_grow_with_the_text() {
        let merge = |block: &str, keep| {
            let (start, end) = (block.find('(').unwrap() + 1, block.find(')').unwrap());
            Merge {
                key: 1,
                text: Span::new(start..end).unwrap(),
                keep,
                lists: true,
                copies: 0,
            }
        };
        let join = |keep, one: &str, two: &str| {
            let first = (one.as_bytes(), merge(one, keep));
            let Joined { kept, rest, merge } = join(first, (two.as_bytes(), merge(two, keep)))?;
            let whole = [&one.as_bytes()[..kept], &rest].concat();
            assert_eq!(merge.text.of(&whole), b"ab");
            Some(String::from_utf8(whole).unwrap())
        };
        let chat = |text: &str, id: u8, lists: &str| {
            format!(
                "id: {id}\ndata: {{\"choices\":[{{\"delta\":{{\"content\":\"({text})\"}},{lists}}}],\"n\":{id}}}\n"
            )
        };
        let one = chat(
            "a",
            1,
            r#""logprobs":{"content":[1,2],"refusal":[]},"token_ids":[7]"#,
        );
        let two = chat(
            "b",
            2,
            r#""logprobs":{"content":[3],"refusal":[]},"token_ids":[]"#,
        );
        let both = r#""logprobs":{"content":[1,2,3],"refusal":[]},"token_ids":[7]"#;
        // The later event has an id, so its envelope stays.
        assert_eq!(join(Keep::First, &one, &two), Some(chat("ab", 2, both)));
        let bare = |block: &str| block.split_once('\n').unwrap().1.to_owned();
        let (one, two) = (bare(&one), bare(&two));
        assert_eq!(
            join(Keep::First, &one, &two),
            Some(bare(&chat("ab", 1, both)))
        );
        assert_eq!(
            join(Keep::Last, &one, &two),
            Some(bare(&chat("ab", 2, both)))
        );

        // The list comes before the text.
        let line =
            |text: &str, list: &str| format!("{{\"logprobs\":[{list}],\"response\":\"({text})\"}}");
        for keep in [Keep::First, Keep::Last] {
            let whole = join(keep, &line("a", "1"), &line("b", "2"));
            assert_eq!(whole, Some(line("ab", "1,2")));
        }

        let other = chat("b", 2, r#""logprobs":{"content":[3]},"token_ids":[]"#);
        assert_eq!(join(Keep::First, &one, &other), None);
        // Cohere repeats the text there.
        let line = |text: &str, list: &str, word: &str| {
            format!(r#"{{"text":"({text})","logprobs":{{"text":"{word}","token_ids":[{list}]}}}}"#)
        };
        for keep in [Keep::First, Keep::Last] {
            let whole = join(keep, &line("a", "1", "a"), &line("b", "2", "b"));
            assert_eq!(whole, Some(line("ab", "1,2", "ab")));
        }
    }

    #[test]
    fn copies_grow_with_the_text() {
        let join = |copies, keep, [one, two]: [&str; 2]| {
            let merge = |block: &str| {
                let start = block.find(r#""reasoning":""#).unwrap() + r#""reasoning":""#.len();
                let len = block[start..].find('"').unwrap();
                Merge {
                    key: 1,
                    text: Span::new(start..start + len).unwrap(),
                    keep,
                    lists: false,
                    copies,
                }
            };
            let (first, second) = ((one.as_bytes(), merge(one)), (two.as_bytes(), merge(two)));
            let Joined { kept, rest, merge } = join(first, second)?;
            let whole = [&one.as_bytes()[..kept], &rest].concat();
            assert_eq!(merge.text.of(&whole), b"ab");
            assert_eq!(merge.copies, copies);
            Some(String::from_utf8(whole).unwrap())
        };
        let after = |text: &str| {
            format!(
                r#"data: {{"choices":[{{"delta":{{"role":"a","reasoning":"{text}","reasoning_details":[{{"type":"reasoning.text","text":"{text}"}}]}}}}]}}"#
            )
        };
        let around = |text: &str| {
            format!(
                r#"data: {{"choices":[{{"delta":{{"thinking_blocks":[{{"thinking":"{text}"}}],"reasoning":"{text}","provider_specific_fields":{{"thinking_blocks":[{{"thinking":"{text}"}}]}}}}}}]}}"#
            )
        };
        for keep in [Keep::First, Keep::Last] {
            let [a, b] = [after("a"), after("b")];
            assert_eq!(join(1, keep, [&a, &b]), Some(after("ab")));
            let [a, b] = [around("a"), around("b")];
            assert_eq!(join(2, keep, [&a, &b]), Some(around("ab")));
            // More or fewer copies than the dialect has found: nobody knows what they are.
            assert_eq!(join(1, keep, [&a, &b]), None);
            assert_eq!(join(3, keep, [&a, &b]), None);
            // The copy is another text.
            let other = after("b").replace(r#""text":"b""#, r#""text":"c""#);
            assert_eq!(join(1, keep, [&after("a"), &other]), None);
        }
    }
}
