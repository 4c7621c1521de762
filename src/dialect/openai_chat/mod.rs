//! OpenAI chat completions and legacy completions, including compatible servers.
//!
//! A chunk may carry several things. It gets the class of the most critical one, and it is merged
//! with its neighbour only if it carries exactly one text and nothing else.

mod chunk;

use super::beside::Seen;
use super::first_frame::FirstFrame;
use super::object::Object;
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
    chat_or_completion,
};
use super::text;
use super::turn::Turns;
use crate::event::{Class, Content, Event, Keep, Terminal, TextsOver};
use crate::wire::{Frame, Framing};
use chunk::{Chunk, Field, bit};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "openai_chat",
    match_head: |head| Sign::Certain.when(head.ends_with("/completions")),
    match_first_frame,
    parser: |_| Box::<State>::default(),
    refusal: Some(|refusal, _| error(refusal.code, refusal.message)),
    streams_on_request: true,
    takes_stream_options: true,
    hide: HideFacts {
        flags_thoughts: true,
        ..HideFacts::MIXES_CALLS_WITH_TEXT
    },
    gen_ai: GenAi {
        provider: Some("openai"),
        operation: Some(chat_or_completion),
        paths: &["/completions"],
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    spec::block(framing, "", &error(failure.code, failure.message))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let object = first.word("object");
    let has_choices = first.has_array("choices") && first.raw("choices") != b"[]";
    if has_choices || matches!(object, b"chat.completion.chunk" | b"text_completion") {
        return Sign::Certain;
    }
    let is_bare = first.name().is_empty() && !first.is_line();
    let is_done = first.frame().data().starts_with(b"[DONE]");
    Sign::Likely.when(is_bare && (first.has_object("error") || is_done))
}

/// Returns an error object for a failure that Weir itself reports.
pub(super) fn error(code: &str, message: &str) -> String {
    let error = Object::new()
        .text("message", message)
        .text("type", code)
        .raw("param", "null")
        .text("code", code);
    Object::new().raw("error", &error.end()).end()
}

/// The state that is kept between chunks.
#[derive(Debug, Default)]
struct State {
    /// The choices whose role was sent, one bit each. Only the first role of a choice makes a chunk
    /// critical, because some servers repeat the role on every chunk.
    roles: u64,
    /// The choices that have begun, one bit each.
    begun: u64,
    /// The choices whose finish reason was sent.
    finished: u64,
    /// A hash of the id of the completion. Zero if it has none, or if each of its chunks has an id of its own.
    completion: u32,
    /// The completions of the last roles.
    roles_of: Turns,
    /// The completions of the last chunks.
    chunks_of: Turns,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let data = frame.data();
        // The SDKs compare only the start of the data.
        if data.starts_with(b"[DONE]") {
            return Some(Event::bare(Class::Done).ending(Terminal::Done));
        }
        let mut chunk = Chunk::default();
        chunk.read(data)?;
        if chunk.failed {
            return Some(Event::bare(Class::Error).ending(Terminal::Error));
        }
        let (begun, finished) = (chunk.begun, chunk.finished);
        // The chunk with the counts may repeat the role, under any id.
        let may_open = self.finished != 0 && finished == 0 && chunk.role && chunk.usage.is_none();
        let mut event = self.event(frame, &chunk, seen);
        let lane = event.lane;
        if !chunk.role {
            self.roles_of.goes_on(lane);
        }
        if finished == 0 && chunk.usage.is_none() {
            // An agent may leave out why the model stopped before it called a tool.
            let is_another = self.chunks_of.begins(lane, chunk.id.into(), 0);
            if is_another || (chunk.role && self.roles_of.begins(lane, chunk.id.into(), 1)) {
                event.texts_over = TextsOver::Perhaps;
            }
        }
        if may_open && self.opens_another(chunk.id) {
            (self.begun, self.finished) = (begun, 0);
            event.terminal = Some(Terminal::Reopens);
        } else if finished != 0 || begun & !self.begun != 0 {
            self.note_completion(chunk.id, finished != 0);
            event.terminal = self.end(begun, finished);
        }
        Some(event)
    }

    fn note_repeated(&mut self, lane: u64) {
        self.roles_of.goes_on(lane);
        self.chunks_of.goes_on(lane);
    }
}

impl State {
    /// Notes the id of a chunk in which a choice begins, or in which one finishes.
    const fn note_completion(&mut self, id: u32, finishes: bool) {
        if finishes {
            if self.begun == 0 || id != self.completion {
                self.completion = 0;
            }
        } else if self.begun == 0 {
            self.completion = id;
        }
    }

    /// Reports whether a chunk with a role opens another completion than the one that has ended: an agent forwards
    /// those of all of its calls of the model.
    const fn opens_another(&mut self, id: u32) -> bool {
        if self.completion == 0 {
            return false;
        }
        let is_other = id != 0 && id != self.completion;
        if is_other {
            self.completion = id;
        }
        is_other
    }

    fn event(&mut self, frame: &Frame<'_>, chunk: &Chunk, seen: &mut Seen) -> Event {
        // Chunks without text count, too: they repeat the id of their completion.
        let beside = seen.key(&chunk.beside);
        let opens = chunk.role && self.is_first_role(chunk.choice);
        let class = if chunk.strange || !(chunk.has_choices || chunk.usage.is_some()) {
            Class::Opaque
        } else if chunk.tool || chunk.result {
            Class::Tool
        } else if chunk.finish {
            Class::Finish
        } else if chunk.usage.is_some() {
            // With or without text: the counts must be neither dropped nor lost in a merge.
            Class::Usage
        } else if opens || chunk.annotated {
            Class::Structure
        } else {
            match chunk.content {
                Content::Token => Class::Token,
                Content::Reasoning => Class::Reasoning,
                Content::None | Content::Other | Content::Tool => Class::Structure,
            }
        };
        let content = match (class, chunk.content) {
            (Class::Opaque, Content::None) => Content::Other,
            (Class::Tool, _) if chunk.result => Content::Tool,
            (_, content) => content,
        };
        let event = Event {
            content,
            usage: chunk.usage,
            lane: chunk.choice,
            ..Event::bare(class)
        };
        let event = match chunk.step() {
            Some(step) => {
                let group = u32::try_from(chunk.choice).unwrap_or(u32::MAX);
                event.of_call(step, group, chunk.tool_index)
            }
            None => event,
        };
        let thought = || Some((Field::Thinking, chunk.thought.clone()?));
        let Some((field, range)) = chunk.text.clone().or_else(thought) else {
            return event;
        };
        if chunk.texts > 1 {
            return event;
        }
        let event = Event {
            text: frame.in_block(range),
            ..event
        };
        let joins = matches!(class, Class::Token | Class::Reasoning | Class::Tool)
            && chunk.choices == 1
            && !(chunk.crowded || chunk.finish || chunk.usage.is_some());
        if !joins {
            return event;
        }
        let key = text::key((field, chunk.choice, chunk.tool_index, beside));
        let event = text::with_lists(text::joining(event, Keep::First, key), chunk.lists);
        if chunk.copies == 0 {
            return event;
        }
        text::with_copies(event, chunk.copies)
    }

    /// Returns what a chunk means for the end in which these choices begin or finish. After the finish reason of every
    /// choice that has begun, `[DONE]` is optional, because some servers never send it.
    #[inline(never)]
    const fn end(&mut self, begun: u64, finished: u64) -> Option<Terminal> {
        let is_new = begun & !self.begun != 0;
        self.begun |= begun;
        self.finished |= finished;
        if finished != 0 && self.begun & !self.finished == 0 {
            Some(Terminal::MayEnd)
        } else if is_new && self.finished != 0 {
            Some(Terminal::Reopens)
        } else {
            None
        }
    }

    const fn is_first_role(&mut self, choice: u64) -> bool {
        let bit = bit(choice);
        let is_first = self.roles & bit == 0;
        self.roles |= bit;
        is_first
    }
}
