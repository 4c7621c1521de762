//! Parses the parts of a Google `Content` object, as Gemini and ADK send them: text, thoughts, tool
//! calls and their results, signatures and files. Members are named in camel case or in snake case.

use std::ops::Range;

use super::reader::Reader;
use super::text;
use crate::event::{Content, Usage};
use crate::wire::json::Kind;

/// The contents of the parts of one event.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) count: usize,
    pub(super) content: Content,
    text: Option<Range<usize>>,
    texts: usize,
    pub(super) tool: bool,
    /// Whether there is a function call or the result of one.
    pub(super) calls: bool,
    /// Whether the last part is the result of executed code.
    pub(super) ends_with_result: bool,
    /// Whether there is a signature, an image or a file: data that the API expects back unchanged,
    /// or that is not text.
    pub(super) sealed: bool,
    /// Whether there is a part of an unknown shape.
    pub(super) strange: bool,
}

impl Parts {
    /// Returns the text if there is exactly one and no tool call beside it.
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
                b"functionCall" | b"function_call" | b"functionResponse" | b"function_response" => {
                    let says = reader.says_something()?;
                    self.tool |= says;
                    self.calls |= says;
                }
                b"codeExecutionResult" | b"code_execution_result" => {
                    let says = reader.says_something()?;
                    self.tool |= says;
                    self.ends_with_result |= says;
                }
                b"executableCode" | b"executable_code" | b"toolCall" | b"tool_call"
                | b"toolResponse" | b"tool_response" => self.tool |= reader.says_something()?,
                b"thoughtSignature" | b"thought_signature" | b"inlineData" | b"inline_data"
                | b"fileData" | b"file_data" => {
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

/// Reads `usageMetadata` or `usage_metadata`. The thoughts are counted separately from the answer, so `output` is the
/// sum of both.
pub(super) fn usage(reader: &mut Reader<'_>) -> Option<Option<Usage>> {
    let mut usage = Usage::default();
    let mut answer = None;
    let found = reader.object(|reader, key| {
        match key {
            b"promptTokenCount" | b"prompt_token_count" => usage.input = reader.count()?,
            b"candidatesTokenCount" | b"candidates_token_count" => answer = reader.count()?,
            b"thoughtsTokenCount" | b"thoughts_token_count" => usage.reasoning = reader.count()?,
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
