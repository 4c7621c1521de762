//! Gemini `streamGenerateContent` as SSE: one response object per block, no names, no sentinel.
//!
//! A running total of the tokens stands on nearly every chunk, so a chunk joins its neighbour by keeping
//! the later one's envelope.

use std::ops::Range;

use super::reader::Reader;
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

pub(super) fn classify(frame: &Frame<'_>) -> Option<Event> {
    let chunk = Chunk::read(frame.data())?;
    if chunk.failed {
        return Some(Event::bare(Class::Error).ending(Terminal::Error));
    }
    let class = if !chunk.is_known || chunk.strange {
        Class::Opaque
    } else if chunk.tool {
        Class::Tool
    } else if chunk.finish {
        Class::Finish
    } else if chunk.sealed {
        Class::Structure
    } else if chunk.usage.is_some() {
        // With text or without: the counts must not be dropped.
        Class::Usage
    } else {
        match chunk.content {
            Content::Token => Class::Token,
            Content::Reasoning => Class::Reasoning,
            Content::None | Content::Other | Content::Tool => Class::Structure,
        }
    };
    let event = Event {
        content: match (class, chunk.content) {
            (Class::Opaque, Content::None) => Content::Other,
            (_, content) => content,
        },
        usage: chunk.usage,
        // The end of input is a good end after the last word of a candidate, and only then.
        terminal: chunk.finish.then_some(Terminal::MayEnd),
        ..Event::bare(class)
    };
    let Some(range) = chunk.text.filter(|_| chunk.texts == 1) else {
        return Some(event);
    };
    let event = Event {
        text: frame.in_block(range),
        ..event
    };
    let joins = matches!(class, Class::Reasoning | Class::Token | Class::Usage)
        && chunk.candidates == 1
        && chunk.parts == 1;
    if !joins {
        return Some(event);
    }
    let key = text::key((
        chunk.candidate,
        chunk.content == Content::Reasoning,
        chunk.usage.is_some(),
        chunk.rest,
    ));
    Some(text::joining(event, Keep::Last, key))
}

/// What one response object carries.
#[derive(Debug, Default)]
struct Chunk {
    /// A top-level `error`.
    failed: bool,
    /// It has a member that only these objects have.
    is_known: bool,
    usage: Option<Usage>,
    candidates: usize,
    /// The index of the last candidate.
    candidate: u64,
    parts: usize,
    text: Option<Range<usize>>,
    texts: usize,
    content: Content,
    tool: bool,
    finish: bool,
    /// A signature, an image, a file: wanted back by the API, or no text.
    sealed: bool,
    /// A part of an unknown shape.
    strange: bool,
    /// A hash of the members that must be equal before two chunks are joined.
    rest: u64,
}

impl Chunk {
    fn read(data: &[u8]) -> Option<Self> {
        let mut chunk = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"error" => chunk.failed |= reader.truthy()?,
                b"candidates" => {
                    chunk.is_known = true;
                    chunk.candidates = reader.array(|reader, _| chunk.candidate(reader))?;
                }
                b"usageMetadata" => {
                    chunk.is_known = true;
                    chunk.usage = usage(reader)?;
                }
                b"promptFeedback" => {
                    chunk.is_known = true;
                    chunk.feedback(reader)?;
                }
                _ => chunk.other(reader, key)?,
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(chunk)
    }

    fn candidate(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.object(|reader, key| {
            match key {
                b"index" => self.candidate = reader.number()?,
                b"finishReason" => self.finish |= reader.truthy()?,
                b"content" => {
                    reader.object(|reader, key| match key {
                        b"parts" => {
                            self.parts += reader.array(|reader, _| self.part(reader))?;
                            Some(())
                        }
                        _ => self.other(reader, key),
                    })?;
                }
                _ => self.other(reader, key)?,
            }
            Some(())
        })?;
        Some(())
    }

    fn part(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let mut words = None;
        let mut is_thought = false;
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
                    self.tool |= reader.says_something()?;
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

    /// A prompt that was refused has no candidates: this is the whole answer.
    fn feedback(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.object(|reader, key| match key {
            b"blockReason" => {
                self.finish |= reader.truthy()?;
                Some(())
            }
            _ => self.other(reader, key),
        })?;
        Some(())
    }

    fn other(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        self.rest = text::key((self.rest, key, reader.raw()?));
        Some(())
    }
}

/// Thoughts are counted beside the answer, not within it.
fn usage(reader: &mut Reader<'_>) -> Option<Option<Usage>> {
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
