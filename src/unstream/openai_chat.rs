//! Whole chat completions and legacy completions, of OpenAI and of compatible servers.

use super::Sign;
use super::json::Value;
use super::out::{Object, Out};

/// Members that every chunk repeats.
const ENVELOPE: [&str; 5] = [
    "id",
    "created",
    "model",
    "system_fingerprint",
    "service_tier",
];

/// Members that say how the model thought.
const THOUGHTS: [&str; 5] = [
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "reasoning_details",
    "reasoning_opaque",
];

/// Members of a choice with an entry for each token of its text.
const LISTS: [&str; 2] = ["logprobs", "token_ids"];

/// Reports whether the answer is a completion: servers that imitate it do not all say so in `object`.
pub(super) fn sign(answer: Value<'_>) -> Sign {
    let first = answer
        .array("choices")
        .and_then(|choices| choices.elements().next());
    let is_choice = |choice: Value<'_>| {
        choice.object("message").is_some() || choice.member("text").and_then(Value::text).is_some()
    };
    Sign::certain_if(first.is_some_and(is_choice))
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let choices = answer.array("choices")?;
    let first = choices.elements().next()?;
    let is_chat = first.object("message").is_some();
    let kind = if is_chat {
        "chat.completion.chunk"
    } else {
        "text_completion"
    };
    let envelope = ENVELOPE
        .iter()
        .fold(Object::new(), |built, name| built.same(name, answer));
    let names = [ENVELOPE.as_slice(), &["object", "choices", "usage"]].concat();
    let mut chunks = Chunks {
        envelope: envelope.text("object", kind),
        rest: Some((answer, names)),
        out,
    };
    for (place, choice) in choices.elements().enumerate() {
        let index = choice
            .member("index")
            .map_or_else(|| place.to_string(), |index| index.raw().to_owned());
        let choice = Choice {
            index: &index,
            value: choice,
        };
        match choice.value.object("message") {
            Some(message) => choice.chat(message, &mut chunks)?,
            None => choice.text(&mut chunks)?,
        }
    }
    if let Some(usage) = answer.member("usage") {
        chunks.chunk("[]", Some(usage))?;
    }
    chunks.out.block("", "[DONE]")
}

/// Writes chunks of one completion.
#[derive(Debug)]
struct Chunks<'a, 'o> {
    envelope: Object,
    /// What only the first chunk has: the answer's members except those with these names.
    rest: Option<(Value<'a>, Vec<&'static str>)>,
    out: &'o mut Out,
}

impl Chunks<'_, '_> {
    fn choice(&mut self, choice: Object) -> Option<()> {
        let choice = choice.end();
        self.chunk(&format!("[{choice}]"), None)
    }

    fn chunk(&mut self, choices: &str, usage: Option<Value<'_>>) -> Option<()> {
        let mut chunk = self.envelope.clone();
        if let Some((answer, names)) = self.rest.take() {
            chunk = chunk.others(answer, &names);
        }
        chunk = chunk.raw("choices", choices);
        if let Some(usage) = usage {
            chunk = chunk.raw("usage", usage.raw());
        }
        self.out.block("", &chunk.end())
    }
}

/// A choice and its number.
#[derive(Clone, Copy, Debug)]
struct Choice<'a> {
    index: &'a str,
    value: Value<'a>,
}

impl Choice<'_> {
    /// Writes a choice of a chat: the role, thoughts, the text, what is beside it, calls, and why it ends.
    fn chat(&self, message: Value<'_>, chunks: &mut Chunks<'_, '_>) -> Option<()> {
        let content = message.member("content");
        let role = Object::new()
            .text("role", or(message.word("role"), "assistant"))
            .raw("content", if content.is_some() { "\"\"" } else { "null" });
        chunks.choice(self.delta(role))?;
        let thoughts = picked(message, &THOUGHTS);
        if !thoughts.is_empty() {
            chunks.choice(self.delta(thoughts))?;
        }
        let mut has_text = false;
        for name in ["content", "refusal"] {
            let delta = picked(message, &[name]);
            if delta.is_empty() {
                continue;
            }
            let mut choice = self.delta(delta);
            if !std::mem::replace(&mut has_text, true) {
                choice = self.lists(choice);
            }
            chunks.choice(choice)?;
        }
        let rest = message
            .members()
            .filter(|(name, value)| {
                let is_known = matches!(*name, "role" | "content" | "refusal" | "tool_calls");
                !is_known && !THOUGHTS.contains(name) && value.says_something()
            })
            .fold(Object::new(), |delta, (name, value)| {
                delta.raw(name, value.raw())
            });
        if !rest.is_empty() {
            chunks.choice(self.delta(rest))?;
        }
        let mut has_calls = message.member("function_call").is_some();
        let calls = message.array("tool_calls");
        for (place, call) in calls.into_iter().flat_map(Value::elements).enumerate() {
            has_calls = true;
            self.call(place, call, chunks)?;
        }
        let reason = if has_calls { "tool_calls" } else { "stop" };
        chunks.choice(self.end(("delta", "{}"), reason, has_text))
    }

    /// Writes a call as its name and its arguments.
    fn call(&self, place: usize, call: Value<'_>, chunks: &mut Chunks<'_, '_>) -> Option<()> {
        let index = call
            .member("index")
            .map_or_else(|| place.to_string(), |index| index.raw().to_owned());
        let numbered = || Object::new().raw("index", &index);
        let of = |call: Object| {
            let call = call.end();
            Object::new().raw("tool_calls", &format!("[{call}]"))
        };
        let begun = numbered().others(call, &["index", "function"]);
        let Some(function) = call.object("function") else {
            return chunks.choice(self.delta(of(begun)));
        };
        let opening = Object::new()
            .others(function, &["arguments"])
            .text("arguments", "");
        chunks.choice(self.delta(of(begun.raw("function", &opening.end()))))?;
        let arguments = function
            .member("arguments")
            .map(Value::as_text)
            .unwrap_or_default();
        if arguments.is_empty() {
            return Some(());
        }
        let arguments = Object::new().text("arguments", &arguments);
        chunks.choice(self.delta(of(numbered().raw("function", &arguments.end()))))
    }

    /// Writes a choice of a legacy completion.
    fn text(&self, chunks: &mut Chunks<'_, '_>) -> Option<()> {
        let text = self.value.word("text");
        if !text.is_empty() {
            let choice = self
                .numbered()
                .text("text", text)
                .raw("finish_reason", "null");
            chunks.choice(self.lists(choice))?;
        }
        chunks.choice(self.end(("text", "\"\""), "stop", !text.is_empty()))
    }

    fn numbered(&self) -> Object {
        Object::new().raw("index", self.index)
    }

    fn delta(&self, delta: Object) -> Object {
        self.numbered()
            .raw("delta", &delta.end())
            .raw("finish_reason", "null")
    }

    /// Adds the lists that belong to the text.
    fn lists(&self, choice: Object) -> Object {
        LISTS
            .iter()
            .fold(choice, |built, name| built.same(name, self.value))
    }

    /// Returns the last chunk of the choice: `nothing` more, the reason, and what else the choice has. The lists are
    /// there if no text had them.
    fn end(&self, nothing: (&str, &str), reason: &str, has_text: bool) -> Object {
        let names = ["index", "message", "text", "delta", "finish_reason"];
        let lists: &[&str] = if has_text { &LISTS } else { &[] };
        let told = self.value.word("finish_reason");
        self.numbered()
            .raw(nothing.0, nothing.1)
            .text("finish_reason", or(told, reason))
            .others(self.value, &[names.as_slice(), lists].concat())
    }
}

/// Returns the members with these names that say something.
fn picked(message: Value<'_>, names: &[&str]) -> Object {
    names.iter().fold(Object::new(), |built, name| {
        match message.member(name).filter(|value| value.says_something()) {
            Some(value) => built.raw(name, value.raw()),
            None => built,
        }
    })
}

fn or<'a>(word: &'a str, other: &'a str) -> &'a str {
    if word.is_empty() { other } else { word }
}

#[cfg(test)]
mod tests {
    use crate::unstream::testing::events;

    const HEAD: &str = r#"{"id":"c1","created":1,"model":"m","system_fingerprint":"f","object":"chat.completion.chunk""#;

    fn chunk(choice: &str) -> String {
        format!(r#"{HEAD},"choices":[{choice}]}}"#)
    }

    fn delta(index: u8, delta: &str) -> String {
        chunk(&format!(
            r#"{{"index":{index},"delta":{delta},"finish_reason":null}}"#
        ))
    }

    fn last(index: u8, reason: &str) -> String {
        chunk(&format!(
            r#"{{"index":{index},"delta":{{}},"finish_reason":"{reason}"}}"#
        ))
    }

    fn completion(rest: &str) -> String {
        format!(
            r#"{{"id":"c1","object":"chat.completion","created":1,"model":"m","system_fingerprint":"f",{rest}}}"#
        )
    }

    #[test]
    fn a_text_with_thoughts_and_counts() {
        let body = completion(
            r#""choices":[{"index":0,"message":{"role":"assistant","reasoning_content":"Hm","content":"Rain \"in\"\n\ud83d",
            "refusal":null,"annotations":[]},"logprobs":{"content":[1]},"stop_reason":7,"finish_reason":"length"}],
            "usage":{"prompt_tokens":9},"citations":["u"]"#,
        );
        let role = delta(0, r#"{"role":"assistant","content":""}"#);
        let role = role.replace(r#","choices""#, r#","citations":["u"],"choices""#);
        let text = chunk(
            r#"{"index":0,"delta":{"content":"Rain \"in\"\n\ud83d"},"finish_reason":null,"logprobs":{"content":[1]}}"#,
        );
        let end = chunk(r#"{"index":0,"delta":{},"finish_reason":"length","stop_reason":7}"#);
        let usage = format!(r#"{HEAD},"choices":[],"usage":{{"prompt_tokens":9}}}}"#);
        let expected = [
            role,
            delta(0, r#"{"reasoning_content":"Hm"}"#),
            text,
            end,
            usage,
            "[DONE]".to_owned(),
        ];
        assert_eq!(events(None, &body), expected);
    }

    #[test]
    fn calls_and_several_choices() {
        let body = completion(
            r#""choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[
            {"id":"t1","type":"function","function":{"name":"wx","arguments":"{\"c\":1}"}},
            {"id":"t2","type":"function","function":{"name":"now","arguments":{"a":"b"}},"extra_content":{"s":"x"}}]},
            "finish_reason":"tool_calls"},
            {"message":{"content":"","refusal":"No."},"finish_reason":null}]"#,
        );
        let calls = |call: &str| delta(0, &format!(r#"{{"tool_calls":[{call}]}}"#));
        let expected = [
            delta(0, r#"{"role":"assistant","content":null}"#),
            calls(
                r#"{"index":0,"id":"t1","type":"function","function":{"name":"wx","arguments":""}}"#,
            ),
            calls(r#"{"index":0,"function":{"arguments":"{\"c\":1}"}}"#),
            calls(
                r#"{"index":1,"id":"t2","type":"function","extra_content":{"s":"x"},"function":{"name":"now","arguments":""}}"#,
            ),
            calls(r#"{"index":1,"function":{"arguments":"{\"a\":\"b\"}"}}"#),
            last(0, "tool_calls"),
            delta(1, r#"{"role":"assistant","content":""}"#),
            delta(1, r#"{"refusal":"No."}"#),
            last(1, "stop"),
            "[DONE]".to_owned(),
        ];
        assert_eq!(events(None, &body), expected);
    }

    #[test]
    fn parts_of_a_content_stay_parts() {
        let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]},{"type":"text","text":"Rain"}]"#;
        let body = completion(&format!(
            r#""choices":[{{"index":0,"message":{{"role":"assistant","content":{parts}}},"finish_reason":"stop"}}]"#
        ));
        let expected = delta(0, &format!(r#"{{"content":{parts}}}"#));
        assert_eq!(events(None, &body).get(1), Some(&expected));
    }

    #[test]
    fn a_legacy_completion() {
        let body = r#"{"id":"c1","object":"text_completion","model":"m","choices":[{"index":0,"text":"Rain",
            "finish_reason":"stop","logprobs":null}]}"#;
        let head =
            r#"{"id":"c1","model":"m","object":"text_completion","choices":[{"index":0,"text":"#;
        let expected = [
            format!(r#"{head}"Rain","finish_reason":null}}]}}"#),
            format!(r#"{head}"","finish_reason":"stop"}}]}}"#),
            "[DONE]".to_owned(),
        ];
        assert_eq!(events(None, body), expected);
    }
}
