//! Whole answers of the Responses API.
//!
//! Each item of the output is announced, filled and closed, as the API does it. The last event has the whole answer.

use super::Sign;
use super::json::Value;
use super::out::{Change, Object, Out};

pub(super) fn sign(answer: Value<'_>) -> Sign {
    let is_response = answer.word("object") == "response" && answer.array("output").is_some();
    // One that still runs in the background is no answer yet.
    let is_over = !matches!(answer.word("status"), "in_progress" | "queued");
    Sign::certain_if(is_response && is_over)
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let begun = Object::new().changed(answer, |name| match name {
        "status" => Change::To("\"in_progress\""),
        "output" => Change::To("[]"),
        "completed_at" | "error" | "incomplete_details" | "usage" => Change::To("null"),
        "output_text" => Change::Drop,
        _ => Change::Keep,
    });
    let begun = begun.end();
    let mut events = Events { next: 0, out };
    for name in ["response.created", "response.in_progress"] {
        events.send(name, |event| event.raw("response", &begun))?;
    }
    let output = answer.array("output")?;
    for (place, item) in output.elements().enumerate() {
        let item = Item { place, value: item };
        item.write(&mut events)?;
    }
    let name = match answer.word("status") {
        "cancelled" => "response.cancelled",
        "failed" => "response.failed",
        "incomplete" => "response.incomplete",
        _ => "response.completed",
    };
    events.send(name, |event| event.raw("response", answer.raw()))
}

/// Numbers the events.
#[derive(Debug)]
struct Events<'o> {
    next: usize,
    out: &'o mut Out,
}

impl Events<'_> {
    /// Writes an event, whose name and type are the same.
    fn send(&mut self, name: &str, fill: impl FnOnce(Object) -> Object) -> Option<()> {
        let event = Object::of_type(name).number("sequence_number", self.next);
        self.next += 1;
        self.out.block(name, &fill(event).end())
    }
}

/// An item of the output, and its place there.
#[derive(Clone, Copy, Debug)]
struct Item<'a> {
    place: usize,
    value: Value<'a>,
}

/// Where a text is in an item.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    /// The member with its number among the parts of its kind.
    index: &'static str,
    number: usize,
    value: Value<'a>,
}

/// The names of the events of a part.
#[derive(Clone, Copy, Debug)]
struct Words {
    /// The part is announced and closed by events of this name.
    part: &'static str,
    /// The pieces and the whole of the text are in events of this name.
    text: &'static str,
    /// The member with the text, in the part and in the event.
    member: &'static str,
}

const ANSWER: Words = Words {
    part: "response.content_part",
    text: "response.output_text",
    member: "text",
};
const REFUSAL: Words = Words {
    part: "response.content_part",
    text: "response.refusal",
    member: "refusal",
};
/// The parts of thoughts are not `content_part`, so that everything about them counts as reasoning.
const THOUGHT: Words = Words {
    part: "response.reasoning_part",
    text: "response.reasoning_text",
    member: "text",
};
const SUMMARY: Words = Words {
    part: "response.reasoning_summary_part",
    text: "response.reasoning_summary_text",
    member: "text",
};

impl Item<'_> {
    fn write(self, events: &mut Events<'_>) -> Option<()> {
        let kind = self.value.word("type");
        let argument = match kind {
            "function_call" => Some(("response.function_call_arguments", "arguments")),
            "mcp_call" => Some(("response.mcp_call_arguments", "arguments")),
            "custom_tool_call" => Some(("response.custom_tool_call_input", "input")),
            "code_interpreter_call" => Some(("response.code_interpreter_call_code", "code")),
            _ => None,
        };
        let is_said = matches!(kind, "message" | "reasoning");
        let opening = Object::new().changed(self.value, |name| match name {
            "status" => Change::To("\"in_progress\""),
            "content" | "summary" if is_said => Change::To("[]"),
            // What a tool of the server has answered.
            "error" | "output" | "outputs" | "result" | "results" => Change::To("null"),
            name if argument.is_some_and(|(_, member)| member == name) => Change::To("\"\""),
            _ => Change::Keep,
        });
        self.whole(events, "response.output_item.added", &opening.end())?;
        if is_said {
            self.texts("summary", "summary_index", events)?;
            self.texts("content", "content_index", events)?;
        }
        if let Some((name, member)) = argument {
            self.argument(name, member, events)?;
        }
        self.whole(events, "response.output_item.done", self.value.raw())
    }

    fn whole(self, events: &mut Events<'_>, name: &str, item: &str) -> Option<()> {
        events.send(name, |event| {
            event.number("output_index", self.place).raw("item", item)
        })
    }

    /// Begins an event about what the item contains.
    fn of_item(self, event: Object) -> Object {
        event
            .text("item_id", self.value.word("id"))
            .number("output_index", self.place)
    }

    /// Writes the arguments of a call.
    fn argument(self, name: &str, member: &str, events: &mut Events<'_>) -> Option<()> {
        let text = self
            .value
            .member(member)
            .map(Value::as_text)
            .unwrap_or_default();
        if !text.is_empty() {
            let delta = |event| self.of_item(event).text("delta", &text);
            events.send(&format!("{name}.delta"), delta)?;
        }
        let done = |event| self.of_item(event).text(member, &text);
        events.send(&format!("{name}.done"), done)
    }

    /// Writes the parts of a message or of reasoning.
    fn texts(self, list: &str, index: &'static str, events: &mut Events<'_>) -> Option<()> {
        let parts = self.value.array(list);
        for (number, value) in parts.into_iter().flat_map(Value::elements).enumerate() {
            let part = Part {
                index,
                number,
                value,
            };
            match value.word("type") {
                "output_text" => self.part(part, ANSWER, events)?,
                "refusal" => self.part(part, REFUSAL, events)?,
                "reasoning_text" => self.part(part, THOUGHT, events)?,
                "summary_text" => self.part(part, SUMMARY, events)?,
                _ => {
                    self.edge(part, "response.content_part.added", value.raw(), events)?;
                    self.edge(part, "response.content_part.done", value.raw(), events)?;
                }
            }
        }
        Some(())
    }

    fn part(self, part: Part<'_>, words: Words, events: &mut Events<'_>) -> Option<()> {
        let Words {
            part: about,
            text: name,
            member,
        } = words;
        let empty = Object::new().changed(part.value, |name| match name {
            "annotations" | "logprobs" => Change::To("[]"),
            name if name == member => Change::To("\"\""),
            _ => Change::Keep,
        });
        self.edge(part, &format!("{about}.added"), &empty.end(), events)?;
        let text = part.value.word(member);
        let lists = |event: Object| match part.value.member("logprobs") {
            Some(lists) if lists.is_array() => event.raw("logprobs", lists.raw()),
            // Clients expect the list, even if there is nothing in it.
            _ if name == ANSWER.text => event.raw("logprobs", "[]"),
            _ => event,
        };
        if !text.is_empty() {
            let delta = |event| lists(self.of_part(part, event).text("delta", text));
            events.send(&format!("{name}.delta"), delta)?;
        }
        let notes = part.value.array("annotations");
        for (number, note) in notes.into_iter().flat_map(Value::elements).enumerate() {
            let fill = |event| {
                self.of_part(part, event)
                    .number("annotation_index", number)
                    .raw("annotation", note.raw())
            };
            events.send("response.output_text.annotation.added", fill)?;
        }
        let done = |event| lists(self.of_part(part, event).text(member, text));
        events.send(&format!("{name}.done"), done)?;
        self.edge(part, &format!("{about}.done"), part.value.raw(), events)
    }

    fn of_part(self, part: Part<'_>, event: Object) -> Object {
        self.of_item(event).number(part.index, part.number)
    }

    /// Announces or closes a part.
    fn edge(self, part: Part<'_>, name: &str, value: &str, events: &mut Events<'_>) -> Option<()> {
        events.send(name, |event| self.of_part(part, event).raw("part", value))
    }
}

#[cfg(test)]
mod tests {
    use crate::unstream::synthesize;
    use crate::unstream::testing::named;

    fn response(status: &str, output: &str, rest: &str) -> String {
        format!(
            r#"{{"id":"r1","object":"response","status":"{status}","model":"m","output":[{output}]{rest}}}"#
        )
    }

    /// Adds the type and the number to what follows them in each event.
    fn numbered(events: &[(&str, &str)]) -> Vec<(String, String)> {
        let of = |(number, (name, rest)): (usize, &(&str, &str))| {
            let data = format!(r#"{{"type":"{name}","sequence_number":{number},{rest}}}"#);
            ((*name).to_owned(), data)
        };
        events.iter().enumerate().map(of).collect()
    }

    #[test]
    fn reasoning_and_text() {
        let output = r#"{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Look"}]},{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Rain\n\ud83d","annotations":[{"a":1}]},{"type":"refusal","refusal":"No"}]}"#;
        let usage = r#","usage":{"input_tokens":9,"output_tokens":4}"#;
        let body = response("completed", output, usage);
        let begun = format!(
            r#""response":{}"#,
            response("in_progress", "", r#","usage":null"#)
        );
        let whole = format!(r#""response":{body}"#);
        let (thought, text) = (
            r#""item_id":"rs_1","output_index":0,"summary_index":0"#,
            r#""item_id":"msg_1","output_index":1,"content_index":0"#,
        );
        let refusal = r#""item_id":"msg_1","output_index":1,"content_index":1"#;
        let of = |place: &str, rest: &str| format!("{place},{rest}");
        let (first, second) = output.split_once("},{\"id\":\"msg_1\"").unwrap();
        let (first, second) = (format!("{first}}}"), format!("{{\"id\":\"msg_1\"{second}"));
        let expected = [
            ("response.created", begun.clone()),
            ("response.in_progress", begun),
            ("response.output_item.added", r#""output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}"#.to_owned()),
            ("response.reasoning_summary_part.added", of(thought, r#""part":{"type":"summary_text","text":""}"#)),
            ("response.reasoning_summary_text.delta", of(thought, r#""delta":"Look""#)),
            ("response.reasoning_summary_text.done", of(thought, r#""text":"Look""#)),
            ("response.reasoning_summary_part.done", of(thought, r#""part":{"type":"summary_text","text":"Look"}"#)),
            ("response.output_item.done", format!(r#""output_index":0,"item":{first}"#)),
            ("response.output_item.added", r#""output_index":1,"item":{"id":"msg_1","type":"message","role":"assistant","status":"in_progress","content":[]}"#.to_owned()),
            ("response.content_part.added", of(text, r#""part":{"type":"output_text","text":"","annotations":[]}"#)),
            ("response.output_text.delta", of(text, r#""delta":"Rain\n\ud83d","logprobs":[]"#)),
            ("response.output_text.annotation.added", of(text, r#""annotation_index":0,"annotation":{"a":1}"#)),
            ("response.output_text.done", of(text, r#""text":"Rain\n\ud83d","logprobs":[]"#)),
            ("response.content_part.done", of(text, r#""part":{"type":"output_text","text":"Rain\n\ud83d","annotations":[{"a":1}]}"#)),
            ("response.content_part.added", of(refusal, r#""part":{"type":"refusal","refusal":""}"#)),
            ("response.refusal.delta", of(refusal, r#""delta":"No""#)),
            ("response.refusal.done", of(refusal, r#""refusal":"No""#)),
            ("response.content_part.done", of(refusal, r#""part":{"type":"refusal","refusal":"No"}"#)),
            ("response.output_item.done", format!(r#""output_index":1,"item":{second}"#)),
            ("response.completed", whole),
        ];
        let expected: Vec<(&str, &str)> = expected
            .iter()
            .map(|(name, rest)| (*name, rest.as_str()))
            .collect();
        assert_eq!(named(None, &body), numbered(&expected));
    }

    #[test]
    fn calls_and_tools_of_the_server() {
        let call = r#"{"id":"fc_1","type":"function_call","call_id":"c1","name":"wx","arguments":"{\"c\":1}","status":"completed"}"#;
        let image =
            r#"{"id":"ig_1","type":"image_generation_call","status":"completed","result":"AAAA"}"#;
        let body = response("completed", &format!("{call},{image}"), "");
        let of_call = |rest: &str| format!(r#""item_id":"fc_1","output_index":0,{rest}"#);
        let events = named(None, &body);
        let expected = [
            ("response.output_item.added", r#""output_index":0,"item":{"id":"fc_1","type":"function_call","call_id":"c1","name":"wx","arguments":"","status":"in_progress"}"#.to_owned()),
            ("response.function_call_arguments.delta", of_call(r#""delta":"{\"c\":1}""#)),
            ("response.function_call_arguments.done", of_call(r#""arguments":"{\"c\":1}""#)),
            ("response.output_item.done", format!(r#""output_index":0,"item":{call}"#)),
            ("response.output_item.added", r#""output_index":1,"item":{"id":"ig_1","type":"image_generation_call","status":"in_progress","result":null}"#.to_owned()),
            ("response.output_item.done", format!(r#""output_index":1,"item":{image}"#)),
        ];
        for (at, (name, rest)) in expected.into_iter().enumerate() {
            let number = at + 2;
            let data = format!(r#"{{"type":"{name}","sequence_number":{number},{rest}}}"#);
            assert_eq!(events[number], (name.to_owned(), data));
        }
    }

    #[test]
    fn the_end_says_how_it_went() {
        for (status, name) in [
            ("failed", "response.failed"),
            ("incomplete", "response.incomplete"),
            ("completed", "response.completed"),
        ] {
            let body = response(status, "", r#","error":{"code":"x","message":"y"}"#);
            let events = named(None, &body);
            assert_eq!(events.last().map(|(name, _)| name.as_str()), Some(name));
        }
        let running = response("in_progress", "", "");
        assert!(synthesize(None, running.as_bytes()).is_none());
    }
}
