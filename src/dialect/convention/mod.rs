//! The event conventions of tutorials and agent templates, in which a word says what each event is.
//!
//! The word is the SSE event name, or the member `type`, `event` or `kind`. Case and punctuation do
//! not matter.

mod meaning;
mod writers;

use std::ops::Range;

use super::Dialect;
use super::beside::{self, Need, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::Reader;
use super::spec::{self, DialectSpec, ErrorContext, Failure, PLAIN, Parser, ResumeIds, Sign};
use super::text;
use super::turn::{MAX_STEPS, Turns};
use crate::event::{Class, Content, Event, Keep, Side, Terminal, TextsOver, Usage};
use crate::wire::json::{self, Kind};
use crate::wire::{Frame, Framing};
use meaning::{Meaning, meaning};
use writers::Writers;

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "convention",
    match_first_frame,
    parser: |_| Box::<State>::default(),
    status: Some(|words| {
        let status = Object::new().text("type", "status").text("content", words);
        format!("event: status\ndata: {}\n\n", status.end())
    }),
    generic: true,
    failure,
    resume_ids: ResumeIds::Used,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, seen: &ErrorContext) -> Option<String> {
    if let Some(seq) = seen.native {
        return native_failure(framing, failure, seq);
    }
    let mut error = spec::plain_error(failure);
    if let Some(text) = seen.text_member.filter(|text| *text != "message") {
        error = error.text(text, failure.message);
    }
    match framing {
        Framing::Ndjson if seen.typed => Some(error.end() + "\n"),
        _ => spec::block(framing, "error", &error.end()),
    }
}

/// Returns the native event that ends a failed stream.
fn native_failure(framing: Framing, failure: &Failure<'_>, seq: u64) -> Option<String> {
    // The same request would fail again, or was meant to end.
    let is_final = matches!(failure.code, "stopped" | "too_large");
    let error = Object::new()
        .text("type", "error")
        .raw("seq", &seq.to_string())
        .text("code", failure.code)
        .text("message", failure.message)
        .raw("retryable", if is_final { "false" } else { "true" })
        .text("source", "proxy")
        .raw("terminal", "true");
    match framing {
        Framing::Ndjson => Some(error.end() + "\n"),
        _ => spec::block(framing, "error", &error.end()),
    }
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_foreign = first.has("jsonrpc") || first.has("candidates");
    let may_be = match first.name() {
        // A line that is not an object is no evidence, and `[DONE]` alone is taken for OpenAI's
        // sentinel.
        b"" if first.is_line() => first.is_object(),
        b"" => !first.frame().data().starts_with(b"[DONE]"),
        b"error" => !first.has_object("error"),
        name => name != b"metadata",
    };
    Sign::Possible.when(!is_foreign && may_be && first.is_understood(Dialect::Convention))
}

/// How the agent writes its events, so that an error event can look alike.
#[derive(Debug, Default)]
struct State {
    /// Whether events are JSON objects.
    typed: bool,
    /// The member that carries the text of tokens.
    text: Option<&'static str>,
    /// Hashes of the names of the members by which tokens say whose text they are.
    writers: Vec<u64>,
    /// In which steps the last tokens were.
    steps: Turns,
    /// The ids beside the last tokens.
    ids: Turns,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, _: &mut Seen) -> Option<Event> {
        let Read {
            event,
            place,
            writers,
            step,
            id,
        } = classify(frame)?;
        self.typed |= frame.data().starts_with(b"{");
        self.text = self.text.or(place);
        let is_token = event.class == Class::Token || event.content == Content::Token;
        if is_token && !writers.have_names(&self.writers) {
            self.writers = writers.names().collect();
        }
        let lane = event.lane;
        let is_next = is_token && self.steps.begins(lane, step, MAX_STEPS);
        let begins = (is_token && self.ids.begins(lane, id, 1)) || is_next;
        Some(match event.texts_over {
            TextsOver::None if begins => event.with_texts_over(TextsOver::Perhaps),
            TextsOver::None => event,
            // Unless it says all that tokens say, nobody says whose text it is.
            _ => event.in_lane(writers.lane_of(&self.writers, event.class)),
        })
    }

    fn note_repeated(&mut self, lane: u64) {
        self.steps.goes_on(lane);
        self.ids.goes_on(lane);
    }

    /// The conventions have no rule for the end of a stream.
    fn needs_terminal(&self) -> bool {
        false
    }

    fn error_context(&self) -> ErrorContext {
        ErrorContext {
            text_member: self.text,
            typed: self.typed,
            ..ErrorContext::default()
        }
    }
}

/// What a frame says.
struct Read {
    event: Event,
    /// The member that carries its text.
    place: Option<&'static str>,
    /// Whose text it says that it is.
    writers: Writers,
    /// A hash of the step that it names; zero if it names none.
    step: u64,
    /// A hash of its id; zero if it has none.
    id: u64,
}

fn classify(frame: &Frame<'_>) -> Option<Read> {
    let data = frame.data();
    let name = match frame.name() {
        b"message" | b"data" => b"",
        name => name,
    };
    if name.is_empty() && data.starts_with(b"[DONE]") {
        let done = Event::bare(Class::Done).ending(Terminal::Done);
        return Some(Read {
            event: done,
            place: None,
            writers: Writers::default(),
            step: 0,
            id: 0,
        });
    }
    let fields = match Fields::read(data) {
        Some(fields) => fields,
        None => Fields::of_plain(data)?,
    };
    let meaning = match [name, fields.kind, fields.event, fields.other_kind]
        .into_iter()
        .find(|word| !word.is_empty())
    {
        Some(word) => meaning(word)?,
        None if fields.is_plain && frame.data.is_some() => Meaning::Token,
        None if fields.has_node && fields.has_state => Meaning::State,
        None => return None,
    };
    let place = fields.place().filter(|_| meaning == Meaning::Token);
    let (writers, step, id) = (fields.writers, fields.step, fields.id);
    Some(Read {
        event: event(frame, meaning, fields),
        place,
        writers,
        step,
        id,
    })
}

fn event(frame: &Frame<'_>, meaning: Meaning, fields: Fields<'_>) -> Event {
    let of = |class, content| Event {
        content,
        ..Event::bare(class)
    };
    match meaning {
        Meaning::Done => Event {
            usage: fields.usage(),
            // This may be the end of a step and not of the run.
            ..Event::bare(Class::Done).ending(Terminal::MayEnd)
        },
        Meaning::Error => Event::bare(Class::Error).ending(Terminal::MayFail),
        Meaning::Heartbeat => Event::bare(Class::Heartbeat),
        Meaning::Interrupt | Meaning::State => of(Class::State, Content::Other),
        // The application shows it, and may wait for it.
        Meaning::Status => of(Class::State, Content::Other).on(Side::Data),
        // What the model writes after the step or the tool is another text.
        Meaning::Step | Meaning::StepEnd => Event {
            terminal: (meaning == Meaning::Step).then_some(Terminal::Reopens),
            ..of(Class::State, Content::Other)
        }
        .with_texts_over(TextsOver::InLane),
        Meaning::Tool => of(Class::Tool, Content::Tool).with_texts_over(TextsOver::InLane),
        Meaning::Usage => Event {
            usage: fields.usage(),
            ..Event::bare(Class::Usage)
        },
        // This repeats all tokens as one text.
        Meaning::Whole => of(Class::Structure, Content::Other).with_texts_over(TextsOver::InLane),
        Meaning::Reasoning if fields.has_status || fields.text.is_none() => {
            of(Class::State, Content::Other)
        }
        Meaning::Reasoning => delta(frame, Class::Reasoning, Content::Reasoning, fields),
        Meaning::Token => delta(frame, Class::Token, Content::Token, fields),
    }
}

/// Returns the event of a delta. Two deltas are merged if their blocks differ only in the text: any other member may
/// say whose text it is.
fn delta(frame: &Frame<'_>, class: Class, content: Content, fields: Fields<'_>) -> Event {
    let Some((_, range)) = fields.text else {
        // A token whose text is in an unknown place.
        return Event {
            content,
            ..Event::bare(class)
        };
    };
    let event = text::event(frame, class, content, range).in_lane(fields.writers.lane());
    let Some(span) = event.text else { return event };
    let (start, end) = (span.start as usize, span.end as usize);
    let key = text::key((frame.block.get(..start), frame.block.get(end..)));
    text::needed(text::joining(event, Keep::First, key), fields.need)
}

/// The members that determine the meaning of an event.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: &'a [u8],
    event: &'a [u8],
    other_kind: &'a [u8],
    /// The best text so far: the rank of its place (0 is best), and its range.
    text: Option<(usize, Range<usize>)>,
    /// Whether the data is plain text or a JSON string, not an object.
    is_plain: bool,
    has_node: bool,
    has_state: bool,
    has_status: bool,
    writers: Writers,
    /// A hash of the members that [`names_step`] knows.
    step: u64,
    /// A hash of `id`, unless it counts events.
    id: u64,
    /// Token counts in an object of their own.
    nested_usage: Option<Usage>,
    /// Token counts beside the other members.
    own_usage: Usage,
    /// How much the client needs what is beside the text.
    need: Need,
}

/// The members that may carry the text, the best one first. `data` may be a string or an object
/// with the text in one of its members.
const PLACES: [&[u8]; 8] = [
    b"content", b"text", b"delta", b"token", b"data", b"chunk", b"message", b"value",
];
const PLACES_IN_DATA: [&[u8]; 4] = [b"content", b"text", b"token", b"chunk"];
/// The distance between the ranks of two places, which leaves room for the members of `data`.
const STEP: usize = 10;

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        match reader.kind()? {
            Kind::Object => {
                reader.object(|reader, key| fields.member(reader, key))?;
            }
            Kind::String => {
                fields.is_plain = true;
                fields.text = reader.string()?.map(|range| (0, range));
            }
            Kind::Array => reader.skip()?,
            Kind::Null | Kind::Scalar => return None,
        }
        reader.end()?;
        Some(fields)
    }

    /// Reads data that is not JSON as plain text. Returns `None` if it begins like JSON but is not
    /// valid.
    fn of_plain(data: &[u8]) -> Option<Self> {
        if matches!(data.first(), Some(b'{' | b'[')) && !json::is_whole(data) {
            return None;
        }
        Some(Self {
            is_plain: true,
            text: Some((0, 0..data.len())),
            ..Self::default()
        })
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => self.kind = reader.word()?,
            b"event" => self.event = reader.word()?,
            b"kind" => self.other_kind = reader.word()?,
            b"usage" => self.nested_usage = reader.usage()?,
            b"node" => {
                self.has_node = true;
                self.spoken_by(reader, key)?;
            }
            key if beside::names_writer(key) => self.spoken_by(reader, key)?,
            b"id" => {
                let raw = reader.raw()?;
                // An id of digits counts events.
                let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'"';
                if raw != b"null" && !raw.iter().all(is_digit) {
                    self.id = text::key(raw);
                }
            }
            key if names_step(key) => {
                let raw = reader.raw()?;
                if !matches!(raw, b"null" | b"\"\"") {
                    self.step = self.step.wrapping_add(text::key((key, raw)));
                }
            }
            b"state" => {
                self.has_state = true;
                reader.skip()?;
            }
            b"status" => self.has_status = reader.says_something()?,
            b"data" if reader.kind()? == Kind::Object => {
                let place = STEP * position(&PLACES, key).unwrap_or_default();
                reader.object(|reader, key| match position(&PLACES_IN_DATA, key) {
                    Some(inner) => self.text(reader, place + 1 + inner),
                    None => {
                        self.need = self.need.max(Need::of(key, reader.raw()?));
                        Some(())
                    }
                })?;
            }
            _ => match position(&PLACES, key) {
                Some(place) => self.text(reader, STEP * place)?,
                None => {
                    let raw = reader.raw()?;
                    if !self.own_usage.member(&mut Reader::new(raw), key)? {
                        self.need = self.need.max(Need::of(key, raw));
                    }
                }
            },
        }
        Some(())
    }

    /// Notes a member that says who speaks, or in which message. That it is the model says nothing: some agents say so
    /// only once.
    fn spoken_by(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        let value = reader.raw()?;
        let is_model = key == b"role" && matches!(value, b"\"assistant\"" | b"\"ai\"");
        if !is_model && !matches!(value, b"null" | b"\"\"") {
            self.writers.add(key, value);
        }
        Some(())
    }

    fn text(&mut self, reader: &mut Reader<'_>, place: usize) -> Option<()> {
        let Some(range) = reader.string()? else {
            return Some(());
        };
        let is_better = self.text.as_ref().is_none_or(|(best, _)| place < *best);
        if is_better {
            self.text = Some((place, range));
        }
        Some(())
    }

    /// Returns the top-level member that carries the text.
    fn place(&self) -> Option<&'static str> {
        let (place, _) = self.text.as_ref().filter(|_| !self.is_plain)?;
        let name = PLACES.get(place / STEP).filter(|_| place % STEP == 0)?;
        std::str::from_utf8(name).ok()
    }

    fn usage(&self) -> Option<Usage> {
        self.nested_usage
            .or_else(|| Some(self.own_usage).filter(|usage| *usage != Usage::default()))
    }
}

/// Reports whether a member names the step in which a text is written: it is the same in all pieces of the text, unless
/// it counts its events.
const fn names_step(key: &[u8]) -> bool {
    matches!(
        key,
        b"iteration"
            | b"round"
            | b"step"
            | b"stepId"
            | b"stepIndex"
            | b"stepNumber"
            | b"step_id"
            | b"step_index"
            | b"step_number"
            | b"turn"
            | b"turnId"
            | b"turn_id"
            | b"turn_number"
    )
}

fn position(places: &[&[u8]], key: &[u8]) -> Option<usize> {
    places.iter().position(|place| *place == key)
}
