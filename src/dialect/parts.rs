//! The parts of a Google content, as Gemini and ADK send them: text, thoughts, calls, sealed things.

use std::ops::Range;

use super::reader::Reader;
use super::text;
use crate::event::{Content, Usage};
use crate::wire::json::Kind;

/// What the parts of one event carry.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) count: usize,
    pub(super) content: Content,
    text: Option<Range<usize>>,
    texts: usize,
    pub(super) tool: bool,
    /// A call of a function, or its result.
    pub(super) calls: bool,
    /// The last part is what code gave.
    pub(super) ends_with_result: bool,
    /// A signature, an image, a file: wanted back by the API, or no text.
    pub(super) sealed: bool,
    /// A part of an unknown shape.
    pub(super) strange: bool,
}

impl Parts {
    /// The only text there is, where it does not stand beside a call.
    pub(super) fn only_text(&self) -> Option<Range<usize>> {
        self.text.clone().filter(|_| self.texts == 1 && !self.tool)
    }

    /// Reads an array of parts.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.count += reader.array(|reader, _| self.part(reader))?;
        Some(())
    }

    fn part(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let mut words = None;
        let mut is_thought = false;
        self.ends_with_result = false;
        reader.object(|reader, key| {
            match key {
                b"text" if reader.kind()? == Kind::String => words = reader.string()?,
                b"thought" => is_thought = reader.truthy()?,
                b"functionCall"
                | b"functionResponse"
                | b"executableCode"
                | b"codeExecutionResult"
                | b"toolCall"
                | b"toolResponse" => {
                    let says = reader.says_something()?;
                    self.tool |= says;
                    self.calls |= says && matches!(key, b"functionCall" | b"functionResponse");
                    self.ends_with_result = says && key == b"codeExecutionResult";
                }
                b"thoughtSignature" | b"inlineData" | b"fileData" => {
                    self.sealed |= reader.says_something()?;
                }
                _ => self.strange |= reader.says_something()?,
            }
            Some(())
        })?;
        let content = match words {
            _ if self.tool => Content::Tool,
            Some(words) if !words.is_empty() => {
                self.text = Some(words);
                self.texts += 1;
                if is_thought {
                    Content::Reasoning
                } else {
                    Content::Token
                }
            }
            _ if self.sealed => Content::Other,
            _ => Content::None,
        };
        self.content = text::more_telling(self.content, content);
        Some(())
    }
}

/// `usageMetadata`. Thoughts are counted beside the answer, not within it.
pub(super) fn usage(reader: &mut Reader<'_>) -> Option<Option<Usage>> {
    let mut usage = Usage::default();
    let mut answer = None;
    let found = reader.object(|reader, key| {
        match key {
            b"promptTokenCount" => usage.input = reader.count()?,
            b"candidatesTokenCount" => answer = reader.count()?,
            b"thoughtsTokenCount" => usage.reasoning = reader.count()?,
            _ => reader.skip()?,
        }
        Some(())
    })?;
    usage.output = match (answer, usage.reasoning) {
        (None, None) => None,
        (answer, thoughts) => answer.unwrap_or(0).checked_add(thoughts.unwrap_or(0)),
    };
    Some(found.then_some(usage))
}
