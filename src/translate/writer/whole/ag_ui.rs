//! The messages of an AG-UI run: those that a client puts together from its events.

use super::list;
use crate::translate::action::{Facts, Kind};
use crate::translate::gather::{Called, Gathered, Input, Item, Said};
use crate::translate::raw::escaped;
use crate::translate::writer::{digits, or, text_of};

/// A message of the run.
enum Message {
    Assistant {
        id: Vec<u8>,
        /// `None` if it has calls only.
        content: Option<Vec<u8>>,
        calls: Vec<Vec<u8>>,
    },
    /// Reasoning or the result of a tool, as it is written.
    Other(Vec<u8>),
}

/// The messages so far.
struct Messages<'a> {
    run: &'a [u8],
    all: Vec<Message>,
    /// Where the last answer is, to which calls belong.
    last_answer: Option<usize>,
}

/// Returns the messages, with what the run is.
pub(super) fn answer(facts: &Facts, gathered: &Gathered) -> Vec<u8> {
    let run = or(&facts.run, b"run");
    let mut messages = Messages {
        run,
        all: Vec::new(),
        last_answer: None,
    };
    let mut waits = Vec::new();
    for item in gathered.items() {
        match item {
            Item::Call(call) => messages.call(call),
            Item::Interrupt {
                id,
                reason,
                payload,
            } => {
                let number = digits(waits.len() as u64 + 1);
                waits.push(interrupt(or(id, &number), reason, payload));
            }
            Item::Step => {}
            Item::Text(said) => messages.text(said),
        }
    }
    let all: Vec<Vec<u8>> = messages.all.iter().map(Message::to_json).collect();
    let mut body = [
        b"{\"threadId\":\"".as_slice(),
        or(&facts.thread, run),
        b"\",\"runId\":\"",
        run,
        b"\",\"messages\":[",
        &list(&all),
        b"]",
    ]
    .concat();
    if !waits.is_empty() {
        let start: &[u8] = b",\"outcome\":{\"type\":\"interrupt\",\"interrupts\":[";
        body.extend([start, &list(&waits), b"]}"].concat());
    }
    body.extend(usage(facts));
    if gathered.is_truncated() {
        body.extend_from_slice(b",\"truncated\":true");
    }
    body.push(b'}');
    body
}

impl Messages<'_> {
    fn text(&mut self, said: &Said) {
        let own = [self.run, b"-", &digits(said.number)].concat();
        match said.kind {
            Kind::Answer => {
                let is_known = |message: &Message| match message {
                    Message::Assistant { id, .. } => *id == said.msg,
                    Message::Other(_) => false,
                };
                let is_taken = said.msg.is_empty() || self.all.iter().any(is_known);
                self.last_answer = Some(self.all.len());
                self.all.push(Message::Assistant {
                    id: if is_taken { own } else { said.msg.clone() },
                    content: Some(said.body.clone()),
                    calls: Vec::new(),
                });
            }
            Kind::Reasoning => {
                let parts: [&[u8]; 5] = [
                    b"{\"id\":\"",
                    &own,
                    b"\",\"role\":\"reasoning\",\"content\":\"",
                    &said.body,
                    b"\"}",
                ];
                self.all.push(Message::Other(parts.concat()));
            }
        }
    }

    fn call(&mut self, call: &Called) {
        let arguments = match &call.input {
            Some(Input::Json(value)) => escaped(value),
            Some(Input::Broken(text)) => text.into(),
            None => b"".into(),
        };
        let parts: [&[u8]; 7] = [
            b"{\"id\":\"",
            &call.id,
            b"\",\"type\":\"function\",\"function\":{\"name\":\"",
            or(&call.name, b"tool"),
            b"\",\"arguments\":\"",
            &arguments,
            b"\"}}",
        ];
        let written = parts.concat();
        let parent = self.last_answer.and_then(|at| self.all.get_mut(at));
        if let Some(Message::Assistant { calls, .. }) = parent {
            calls.push(written);
        } else {
            self.all.push(Message::Assistant {
                id: call.id.clone(),
                content: None,
                calls: vec![written],
            });
        }
        if let Some(result) = call.result.as_ref().filter(|result| !result.partial) {
            let parts: [&[u8]; 7] = [
                b"{\"id\":\"",
                &call.id,
                b"-result\",\"role\":\"tool\",\"toolCallId\":\"",
                &call.id,
                b"\",\"content\":\"",
                &text_of(result.content()),
                b"\"}",
            ];
            self.all.push(Message::Other(parts.concat()));
        }
    }
}

impl Message {
    fn to_json(&self) -> Vec<u8> {
        let (id, content, calls) = match self {
            Self::Assistant { id, content, calls } => (id, content, calls),
            Self::Other(json) => return json.clone(),
        };
        let mut json = [b"{\"id\":\"".as_slice(), id, b"\",\"role\":\"assistant\""].concat();
        if let Some(content) = content {
            json.extend([b",\"content\":\"".as_slice(), content, b"\""].concat());
        }
        if !calls.is_empty() {
            json.extend([b",\"toolCalls\":[".as_slice(), &list(calls), b"]"].concat());
        }
        json.push(b'}');
        json
    }
}

fn interrupt(id: &[u8], reason: &[u8], payload: &[u8]) -> Vec<u8> {
    [
        b"{\"id\":\"".as_slice(),
        id,
        b"\",\"reason\":\"",
        or(reason, b"input_required"),
        b"\",\"metadata\":{\"payload\":",
        or(payload, b"{}"),
        b"}}",
    ]
    .concat()
}

/// Returns the member with the token counts; empty if there are none.
fn usage(facts: &Facts) -> Vec<u8> {
    let Some(counts) = facts.counts() else {
        return Vec::new();
    };
    let total = counts.input.saturating_add(counts.output);
    let mut usage = b",\"usage\":[{".to_vec();
    if !facts.model.is_empty() {
        usage.extend([b"\"model\":\"".as_slice(), &facts.model, b"\","].concat());
    }
    usage.extend_from_slice(b"\"inputTokens\":");
    usage.extend_from_slice(&digits(counts.input));
    let members: [(&[u8], Option<u64>); 3] = [
        (b",\"outputTokens\":", Some(counts.output)),
        (b",\"totalTokens\":", Some(total)),
        (b",\"reasoningTokens\":", counts.reasoning),
    ];
    for (name, count) in members {
        if let Some(count) = count {
            usage.extend_from_slice(name);
            usage.extend_from_slice(&digits(count));
        }
    }
    usage.extend_from_slice(b"}]");
    usage
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::testing::{
        Last, asks_for_tool, call_of, finish, interrupt, result, run, text, weather, whole,
    };
    use crate::translate::part::{By, Part, Reason};

    fn body(parts: &[Part<'static>], last: Last) -> String {
        whole(Form::AgUi, parts, last, 1000)
    }

    /// The answer of a run with these messages.
    fn answer(messages: &[&str], rest: &str) -> String {
        let messages = messages.join(",");
        format!("{{\"threadId\":\"t1\",\"runId\":\"r1\",\"messages\":[{messages}]{rest}}}")
    }

    const THOUGHT: &str = r#"{"id":"r1-1","role":"reasoning","content":"Check the weather."}"#;
    const FIRST: &str = r#"{"id":"m1","role":"assistant","content":"Let me look.","toolCalls":[{"id":"c1","type":"function","function":{"name":"wx","arguments":"{\"city\":\"Oslo\"}"}}]}"#;
    const RESULT: &str = r#"{"id":"c1-result","role":"tool","toolCallId":"c1","content":"4 C"}"#;
    const SECOND: &str = r#"{"id":"m2","role":"assistant","content":"It is 4 C in Oslo."}"#;
    const USAGE: &str = r#","usage":[{"model":"m","inputTokens":25,"outputTokens":18,"totalTokens":43,"reasoningTokens":5}]"#;

    #[test]
    fn messages_are_those_of_a_client() {
        let expected = answer(&[THOUGHT, FIRST, RESULT, SECOND], USAGE);
        for by in [By::Agent, By::Client, By::Unsaid] {
            assert_eq!(body(&weather(by), Last::Finish), expected);
        }
    }

    #[test]
    fn a_call_may_have_no_result() {
        let expected = answer(&[THOUGHT, FIRST], USAGE);
        let mut parts = asks_for_tool(By::Client);
        assert_eq!(body(&parts, Last::Stop), expected);
        parts.push(finish(Reason::ToolCalls));
        assert_eq!(body(&parts, Last::Finish), expected);
    }

    #[test]
    fn a_call_may_have_no_text_before_it() {
        let mut parts = vec![run()];
        for id in ["c1", "c2"] {
            parts.extend(call_of(id, "wx", By::Agent));
        }
        parts.push(result("c1", true, "{\"c\":4}"));
        let call = |id: &str| {
            format!(
                r#"{{"id":"{id}","role":"assistant","toolCalls":[{{"id":"{id}","type":"function","function":{{"name":"wx","arguments":"{{\"city\":\"Oslo\"}}"}}}}]}}"#
            )
        };
        let result = r#"{"id":"c1-result","role":"tool","toolCallId":"c1","content":"{\"c\":4}"}"#;
        let expected = answer(&[&call("c1"), result, &call("c2")], "");
        assert_eq!(body(&parts, Last::Finish), expected);
    }

    #[test]
    fn no_two_messages_have_the_same_name() {
        let parts = [
            run(),
            text("m1", "a"),
            Part::TextEnd,
            text("m1", "b"),
            Part::TextEnd,
            text("", "c"),
            interrupt(),
        ];
        let message = |id: &str, text: &str| {
            format!(r#"{{"id":"{id}","role":"assistant","content":"{text}"}}"#)
        };
        let waits = r#","outcome":{"type":"interrupt","interrupts":[{"id":"i1","reason":"approval","metadata":{"payload":{"ask":"Book?"}}}]}"#;
        let texts = [
            message("m1", "a"),
            message("r1-2", "b"),
            message("r1-3", "c"),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(body(&parts, Last::Finish), answer(&texts, waits));
    }
}
