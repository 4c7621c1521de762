//! Reads what servers say about a thought beside its text: details that often repeat it, data that the client must send
//! back, and a flag that makes the content a thought.

use super::{Chunk, Field};
use crate::dialect::reader::Reader;
use crate::dialect::text;
use crate::event::Content;
use crate::wire::json::Kind;

impl Chunk {
    /// Finds out whether the details of a thought repeat its text. Where they are its only text, they are the text.
    #[inline(never)]
    pub(super) fn settle_details(&mut self, data: &[u8]) {
        let Some(detail) = self.detail.take() else {
            return;
        };
        let Some((_, text)) = &self.text else {
            self.copies = self.detail_count.saturating_sub(1);
            self.texts = 1;
            self.text = Some((Field::Thought, detail));
            return;
        };
        if self.content == Content::Reasoning && data.get(text.clone()) == data.get(detail) {
            self.copies = self.copies.saturating_add(self.detail_count);
        } else {
            self.crowded = true;
        }
    }

    /// Makes the content of the only choice a thought.
    #[inline(never)]
    pub(super) fn settle_thought(&mut self) {
        if let (1, Some((field @ Field::Content, _))) = (self.choices, &mut self.text)
            && self.content == Content::Token
        {
            *field = Field::Thought;
            self.content = Content::Reasoning;
        }
    }

    /// Reads what the client must send back: an encrypted thought.
    pub(super) fn sealed(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        if reader.says_something()? {
            self.beside.must_return();
            self.adds(Content::Reasoning);
        }
        Some(())
    }

    /// Reads the details of a thought, which often repeat its text: OpenRouter's `reasoning_details`, LiteLLM's
    /// `thinking_blocks`.
    #[inline(never)]
    pub(super) fn details(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        if reader.kind()? != Kind::Array {
            self.beside.inner(key, reader.raw()?);
            return Some(());
        }
        let count = reader.array(|reader, _| {
            let is_object = reader.object(|reader, key| match key {
                b"text" | b"summary" | b"thinking" if reader.kind()? == Kind::String => {
                    self.detail(reader, key)
                }
                b"data" => self.sealed(reader),
                _ => {
                    self.beside.inner(key, reader.raw()?);
                    Some(())
                }
            })?;
            self.crowded |= !is_object;
            Some(())
        })?;
        if count > 0 {
            self.beside.tag(text::key(key));
            self.adds(Content::Reasoning);
        }
        // A merge would lose all but one.
        self.crowded |= count > 1;
        Some(())
    }

    /// Reads a text of the details. They hold one text, however often.
    fn detail(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        let range = reader.string()?.unwrap_or_default();
        if range.is_empty() {
            return Some(());
        }
        self.beside.tag(text::key(key));
        let known = self.detail.replace(range.clone());
        self.crowded |= known.is_some_and(|known| !reader.is_same(known, range));
        self.detail_count = self.detail_count.saturating_add(1);
        self.adds(Content::Reasoning);
        Some(())
    }

    #[inline(never)]
    pub(super) fn provider_fields(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        if reader.kind()? != Kind::Object {
            self.beside.inner(key, reader.raw()?);
            return Some(());
        }
        reader.object(|reader, key| match key {
            b"reasoning" | b"reasoning_content" if reader.kind()? == Kind::String => {
                self.detail(reader, key)
            }
            b"reasoning_details" | b"thinking_blocks" => self.details(reader, key),
            _ => {
                self.beside.inner(key, reader.raw()?);
                Some(())
            }
        })?;
        self.beside.tag(text::key(key));
        Some(())
    }

    /// Reads what Google adds: whether the content is a thought, and signatures.
    #[inline(never)]
    pub(super) fn extra(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        let raw = reader.raw()?;
        self.beside.inner(key, raw);
        Reader::new(raw).object(|reader, key| match key {
            b"google" => reader
                .object(|reader, key| {
                    match key {
                        b"thought" => self.thinks |= reader.truthy()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })
                .map(drop),
            _ => reader.skip(),
        })?;
        Some(())
    }
}
