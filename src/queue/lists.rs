//! Finds what grows with a text beside it: the lists that have an entry for each of its tokens (log probabilities,
//! token ids), and the members that hold the text once more.

use std::ops::Range;

use memchr::memrchr;

use crate::event::{COPIES, LISTS, Span};
use crate::wire::json::{Cursor, Kind};

/// How many levels deep such lists are nested: a chunk, its choices, a choice, its log probabilities.
const LEVELS: usize = 4;
/// How many levels deep copies of a text are nested: a chunk, its choices, a choice, its delta, a provider's fields,
/// their blocks, a block.
const COPY_LEVELS: usize = 7;

/// One list of a block, or one copy of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<'a> {
    /// The name of the member that holds the list.
    pub(super) name: &'a [u8],
    /// The range of its entries, without the brackets around them, or of a text, without its quotes.
    pub(super) entries: Range<usize>,
    /// Whether it is a text and no list.
    pub(super) is_text: bool,
}

/// Returns the lists and the `copies` copies beside `text` in order. Returns `None` if the line of the text is not
/// JSON, if something else is where the lists should be, or if there are more copies or fewer.
pub(super) fn beside(block: &[u8], text: Span, copies: u8) -> Option<Vec<List<'_>>> {
    let line = block.get(..text.start as usize)?;
    let mut start = memrchr(b'\n', line).map_or(0, |end| end + 1);
    if line.get(start..)?.starts_with(b"data:") {
        start += b"data:".len();
    }
    let mut walk = Walk {
        cursor: Cursor::new(block.get(start..)?),
        block,
        start,
        text,
        wants_copies: copies > 0,
        copies: 0,
        found: Vec::new(),
    };
    let levels = if copies > 0 { COPY_LEVELS } else { LEVELS };
    walk.value(b"", false, levels)?;
    (copies == 0 || walk.copies == usize::from(copies)).then_some(walk.found)
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    block: &'a [u8],
    /// Where the cursor began in the block.
    start: usize,
    text: Span,
    wants_copies: bool,
    /// How many copies of the text there are.
    copies: usize,
    found: Vec<List<'a>>,
}

impl<'a> Walk<'a> {
    /// Walks over the value of member `name`. `grows`: this member, or one that contains it, has a name in [`LISTS`].
    fn value(&mut self, name: &'a [u8], grows: bool, levels: usize) -> Option<()> {
        match self.cursor.kind()? {
            Kind::Array if grows => {
                let array = self.cursor.skip()?;
                self.found.push(List {
                    name,
                    entries: self.entries(array)?,
                    is_text: false,
                });
            }
            // Cohere repeats the text among its log probabilities.
            Kind::String if grows && name == b"text" => self.string(name, grows)?,
            Kind::String if self.wants_copies && !grows && COPIES.contains(&name) => {
                self.string(name, grows)?;
            }
            Kind::Object if levels > 0 => {
                self.cursor.enter_object()?;
                while let Some(key) = self.cursor.next_key()? {
                    self.value(key, grows || LISTS.contains(&key), levels - 1)?;
                }
            }
            Kind::Array if levels > 0 => {
                self.cursor.enter_array()?;
                while self.cursor.next_element()? {
                    self.value(name, false, levels - 1)?;
                }
            }
            Kind::Null => {
                self.cursor.skip()?;
            }
            // This value cannot be joined, and would be lost.
            _ if grows => return None,
            _ => {
                self.cursor.skip()?;
            }
        }
        Some(())
    }

    /// Notes a string that repeats the text, or describes it among its lists (`grows`).
    fn string(&mut self, name: &'a [u8], grows: bool) -> Option<()> {
        let string = self.cursor.string()?;
        let entries = self.start + string.start..self.start + string.end;
        let is_itself = entries.start == self.text.start as usize;
        let is_copy = self.block.get(entries.clone())? == self.text.of(self.block);
        if grows || (is_copy && !is_itself) {
            self.copies += usize::from(!grows);
            self.found.push(List {
                name,
                entries,
                is_text: true,
            });
        }
        Some(())
    }

    /// Returns the range between the brackets of an array, without the spaces next to them.
    fn entries(&self, array: Range<usize>) -> Option<Range<usize>> {
        let inner = self.start + array.start + 1..self.start + array.end - 1;
        let bytes = self.block.get(inner.clone())?;
        let begin = inner.end - bytes.trim_ascii_start().len();
        let end = inner.start + bytes.trim_ascii_end().len();
        Some(begin.min(end)..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(block: &str) -> Vec<(&str, &str)> {
        let at = block.find("TEXT").unwrap();
        let lists = beside(block.as_bytes(), Span::new(at..at + 4).unwrap(), 0).unwrap();
        let word = |bytes| std::str::from_utf8(bytes).unwrap();
        lists
            .iter()
            .map(|list| (word(list.name), &block[list.entries.clone()]))
            .collect()
    }

    #[test]
    fn lists_are_found_wherever_servers_put_them() {
        let table = [
            (r#"data: {"a":[1],"delta":"TEXT"}"#, vec![]),
            (
                r#"data: {"delta":"TEXT","logprobs":[ {"x":[1]} ,2 ]}"#,
                vec![("logprobs", r#"{"x":[1]} ,2"#)],
            ),
            (
                "id: 1\ndata:{\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\
                 \"logprobs\":{\"content\":[3],\"refusal\":null,\"top\":[ ]},\"token_ids\":[4]}]}\n",
                vec![("content", "3"), ("top", ""), ("token_ids", "4")],
            ),
            (
                r#"{"message":{"content":"TEXT"},"logprobs":[5]}"#,
                vec![("logprobs", "5")],
            ),
        ];
        for (block, lists) in table {
            assert_eq!(found(block), lists, "{block}");
        }
    }

    #[test]
    fn what_is_no_json_and_what_is_deep_does_no_harm() {
        let span = Span::new(8..9).unwrap();
        assert_eq!(
            beside(br#"data: {"logprobs":{"x":[1],"y":2}}"#, span, 0),
            None
        );
        assert_eq!(beside(b"", span, 0), None);
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(beside(deep.as_bytes(), span, 0), None);
        let whole = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(beside(whole.as_bytes(), span, 0), Some(vec![]));
    }
}
