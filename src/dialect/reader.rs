//! Reads the members of a JSON payload in one pass and reports where their values are.
//!
//! Every method that reads a value consumes exactly one value, of any kind. `None` means that the
//! payload is not JSON.

use std::ops::Range;

use crate::event::Usage;
use crate::wire::json::{Cursor, Kind};

/// A position in a payload, together with the payload.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            cursor: Cursor::new(data),
        }
    }

    /// Calls `member` with each key and the reader at its value. Returns false if the value is not
    /// an object.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<bool> {
        if self.kind()? != Kind::Object {
            self.cursor.skip()?;
            return Some(false);
        }
        self.cursor.enter_object()?;
        while let Some(key) = self.cursor.next_key()? {
            member(self, key)?;
        }
        Some(true)
    }

    /// Calls `element` with the reader at each element. Returns the number of elements, zero if the
    /// value is not an array.
    pub(super) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<usize> {
        if self.kind()? != Kind::Array {
            self.cursor.skip()?;
            return Some(0);
        }
        self.cursor.enter_array()?;
        let mut count = 0;
        while self.cursor.next_element()? {
            element(self, count)?;
            count += 1;
        }
        Some(count)
    }

    /// Returns the range of the raw body of a string; `Some(None)` for any other value.
    pub(super) fn string(&mut self) -> Option<Option<Range<usize>>> {
        self.cursor.string_or_skip()
    }

    /// Returns the raw body of a string, empty for any other value.
    pub(super) fn word(&mut self) -> Option<&'a [u8]> {
        let range = self.string()?.unwrap_or_default();
        self.data.get(range)
    }

    /// Returns a whole number, zero for any other value.
    pub(super) fn number(&mut self) -> Option<u64> {
        Some(self.cursor.u64_or_skip()?.unwrap_or_default())
    }

    /// Returns a whole number; `Some(None)` for any other value.
    pub(super) fn count(&mut self) -> Option<Option<u64>> {
        self.cursor.u64_or_skip()
    }

    /// Like [`Reader::count`], and also returns the range of the value.
    pub(super) fn count_at(&mut self) -> Option<(Option<u64>, Range<usize>)> {
        let at = self.cursor.clone().skip()?;
        Some((self.cursor.u64_or_skip()?, at))
    }

    /// Reports whether the value is truthy in the languages of the clients.
    pub(super) fn truthy(&mut self) -> Option<bool> {
        self.cursor.truthy_or_skip()
    }

    /// Returns the raw bytes of a value.
    pub(super) fn raw(&mut self) -> Option<&'a [u8]> {
        let range = self.cursor.skip()?;
        self.data.get(range)
    }

    /// Reports whether two ranges of the payload hold the same bytes.
    pub(super) fn is_same(&self, one: Range<usize>, other: Range<usize>) -> bool {
        self.data.get(one) == self.data.get(other)
    }

    /// Reports whether the value carries information: it is not `null`, `false`, `""`, `[]` or
    /// `{}`.
    pub(super) fn says_something(&mut self) -> Option<bool> {
        self.raw().map(says_something)
    }

    pub(super) fn skip(&mut self) -> Option<()> {
        self.cursor.skip().map(drop)
    }

    pub(super) fn kind(&mut self) -> Option<Kind> {
        self.cursor.kind()
    }

    /// Returns the token counts of an object, under any name in use; `Some(None)` for any other
    /// value.
    pub(super) fn usage(&mut self) -> Option<Option<Usage>> {
        let mut usage = Usage::default();
        let mut total = None;
        let found = self.object(|reader, key| match key {
            b"total_tokens" => {
                total = reader.count()?;
                Some(())
            }
            _ => usage.member(reader, key).map(drop),
        })?;
        usage.include_reasoning(total);
        Some(found.then_some(usage))
    }

    /// Returns `None` unless only white space is left.
    pub(super) fn end(&mut self) -> Option<()> {
        self.cursor.at_end().then_some(())
    }
}

/// Reports whether a raw value carries information: it is not `null`, `false`, `""`, `[]` or `{}`.
pub(super) fn says_something(raw: &[u8]) -> bool {
    !matches!(raw, b"null" | b"false" | b"\"\"" | b"[]" | b"{}")
}

impl Usage {
    /// Adds the reasoning to an output that excludes it (xAI), which only the total shows: OpenAI's total is the sum
    /// of input and output, and the output includes the reasoning.
    fn include_reasoning(&mut self, total: Option<u64>) {
        let (Some(total), Some(input)) = (total, self.input) else {
            return;
        };
        if let (Some(output), Some(reasoning @ 1..)) = (&mut self.output, self.reasoning)
            && total == input.saturating_add(*output).saturating_add(reasoning)
        {
            *output = output.saturating_add(reasoning);
        }
    }

    /// Consumes a member, and reads it if it is a token count. Returns whether it was one.
    pub(super) fn member(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<bool> {
        match key {
            b"prompt_tokens" | b"input_tokens" | b"promptTokens" | b"inputTokens" => {
                self.input = total(reader, &mut None)?.or(self.input);
            }
            b"completion_tokens" | b"output_tokens" | b"completionTokens" | b"outputTokens" => {
                let mut reasoning = None;
                self.output = total(reader, &mut reasoning)?.or(self.output);
                self.reasoning = reasoning.or(self.reasoning);
            }
            b"reasoningTokens" | b"reasoning_tokens" => {
                self.reasoning = reader.count()?.or(self.reasoning);
            }
            b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                reader.object(|reader, key| match key {
                    b"reasoning_tokens" | b"reasoning" => {
                        self.reasoning = reader.count()?;
                        Some(())
                    }
                    _ => reader.skip(),
                })?;
            }
            _ => {
                reader.skip()?;
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Reads a count, or an object with a `total` and its parts (AI SDK 6), of which `reasoning` is one.
fn total(reader: &mut Reader<'_>, reasoning: &mut Option<u64>) -> Option<Option<u64>> {
    if reader.kind()? != Kind::Object {
        return reader.count();
    }
    let mut total = None;
    reader.object(|reader, key| match key {
        b"total" => {
            total = reader.count()?;
            Some(())
        }
        b"reasoning" => {
            *reasoning = reader.count()?;
            Some(())
        }
        _ => reader.skip(),
    })?;
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_be_told_with_their_parts() {
        let usage = |text: &str| Reader::new(text.as_bytes()).usage().unwrap().unwrap();
        let parts = usage(
            r#"{"inputTokens":{"total":9,"noCache":4,"cacheRead":5},"outputTokens":{"total":7,"text":4,"reasoning":3}}"#,
        );
        let flat = usage(r#"{"inputTokens":9,"outputTokens":7,"reasoningTokens":3}"#);
        assert_eq!(parts, flat);
        assert_eq!(
            (flat.input, flat.output, flat.reasoning),
            (Some(9), Some(7), Some(3))
        );
    }
}
