//! Bodies of AG-UI clients: `RunAgentInput`.
//!
//! | member | becomes |
//! |---|---|
//! | `messages` | messages; those of the roles `reasoning` and `activity` are not for the model |
//! | `tools` | `tools` |
//! | `context` | a message of the role `system`, behind those with which the conversation begins |
//! | `forwardedProps` | its members become members of the request, unless the body has members of that name |
//! | `resume` | an error, unless it is empty: a chat completion cannot go on from an interrupt |
//! | `state`, `threadId`, `runId`, `parentRunId`, `protocolVersion` | nothing: they are not for the model |
//! | any other | itself |
//!
//! Results of tools are messages of their own, which may stand anywhere behind the call: clients record parallel calls
//! as several messages, and their results behind all of them. Each is put behind its call.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ag_ui_content::{name, part, texts};
use super::chat::{Call, Content, Conversation, Request, Role, Text, Tool};
use super::read::{Object, Path, Problem, decoded, is_string, object, string_body};

/// The members of the protocol, which do not pass as they are.
const OWN: [&str; 10] = [
    "context",
    "forwardedProps",
    "messages",
    "parentRunId",
    "protocolVersion",
    "resume",
    "runId",
    "state",
    "threadId",
    "tools",
];
const ROLES: &str = "`system`, `developer`, `user`, `assistant`, `tool`, `reasoning` or `activity`";

/// Maps a body.
pub(super) fn map<'a>(body: &Object<'a, '_>) -> Result<Request<'a>, Problem> {
    if !body.optional_array("resume")?.is_empty() {
        return Err(Problem::at(
            body.at("resume"),
            "expected no answers to interrupts, which a chat completion cannot go on from",
        ));
    }
    let mut mapper = Mapper {
        chat: Conversation::default(),
        context: context(body)?,
        calls: HashMap::new(),
    };
    let at = body.at("messages");
    for (index, json) in body.array("messages")?.into_iter().enumerate() {
        mapper.add(&object(json, Path::Index(&at, index))?)?;
    }
    mapper.say_context();
    // Of a name the last one counts.
    let forwarded = body.optional_object("forwardedProps")?;
    let mut members = forwarded.map_or_else(Vec::new, |props| props.members_without(&[]));
    members.extend(body.members_without(&OWN));
    Ok(Request::new(mapper.chat, tools(body)?, members))
}

/// Returns the text of `context`, if there is any.
fn context(body: &Object<'_, '_>) -> Result<Option<String>, Problem> {
    let at = body.at("context");
    let mut text = String::new();
    for (index, json) in body.optional_array("context")?.into_iter().enumerate() {
        let entry = object(json, Path::Index(&at, index))?;
        let description = entry.word("description")?;
        let value = match entry.raw("value") {
            Some(value) if is_string(value) => decoded(value, entry.at("value"))?,
            Some(value) => Cow::Borrowed(value.get()),
            None => {
                let at = entry.at("value");
                return Err(Problem::expected(at, "a string", None));
            }
        };
        if text.is_empty() {
            text.push_str("Context from the application:");
        }
        text.push_str("\n\n");
        text.push_str(&description);
        text.push_str(":\n");
        text.push_str(&value);
    }
    Ok((!text.is_empty()).then_some(text))
}

fn tools<'a>(body: &Object<'a, '_>) -> Result<Vec<Tool<'a>>, Problem> {
    let at = body.at("tools");
    let mut tools = Vec::new();
    for (index, json) in body.optional_array("tools")?.into_iter().enumerate() {
        let tool = object(json, Path::Index(&at, index))?;
        tools.push(Tool::new(
            tool.string("name")?,
            tool.optional_string("description")?,
            tool.some("parameters"),
        ));
    }
    Ok(tools)
}

/// Maps the messages, one after the other.
struct Mapper<'a> {
    chat: Conversation<'a>,
    /// What `context` says, until it has been said.
    context: Option<String>,
    /// The last call with each id: the number of its message, and its number there.
    calls: HashMap<Cow<'a, str>, (usize, usize)>,
}

impl<'a> Mapper<'a> {
    fn add(&mut self, message: &Object<'a, '_>) -> Result<(), Problem> {
        let role = message.word("role")?;
        match &*role {
            "activity" | "reasoning" => Ok(()),
            "assistant" => self.add_assistant(message),
            "developer" => self.add_instructions(Role::Developer, message),
            "system" => self.add_instructions(Role::System, message),
            "tool" => self.add_result(message),
            "user" => self.add_user(message),
            _ => Err(Problem::unknown(message.at("role"), ROLES, &role)),
        }
    }

    /// Says what `context` says, once.
    fn say_context(&mut self) {
        if let Some(text) = self.context.take() {
            let content = Content::Text(Text::Plain(Cow::Owned(text)));
            self.chat.say(Role::System, content, None);
        }
    }

    fn add_instructions(&mut self, role: Role, message: &Object<'a, '_>) -> Result<(), Problem> {
        let content = Content::Text(Text::Written(texts(message)?));
        self.chat.say(role, content, name(message));
        Ok(())
    }

    fn add_user(&mut self, message: &Object<'a, '_>) -> Result<(), Problem> {
        self.say_context();
        let content = match message.raw("content") {
            Some(text) if is_string(text) => Some(Content::Text(text.into())),
            Some(list) if list.get().starts_with('[') => {
                let at = message.at("content");
                let mut parts = Vec::new();
                for (index, json) in message.array("content")?.into_iter().enumerate() {
                    parts.push(part(&object(json, Path::Index(&at, index))?)?);
                }
                Content::of(parts)
            }
            other => {
                let at = message.at("content");
                return Err(Problem::expected(at, "a string or an array", other));
            }
        };
        if let Some(content) = content {
            self.chat.say(Role::User, content, name(message));
        }
        Ok(())
    }

    fn add_assistant(&mut self, message: &Object<'a, '_>) -> Result<(), Problem> {
        self.say_context();
        let texts = match message.some("content") {
            Some(_) => texts(message)?,
            None => Vec::new(),
        };
        let at = message.at("toolCalls");
        let (mut ids, mut calls) = (Vec::new(), Vec::new());
        let list = message.optional_array("toolCalls")?;
        for (index, json) in list.into_iter().enumerate() {
            let call = object(json, Path::Index(&at, index))?;
            let function = call.object("function")?;
            let arguments = function.string("arguments")?;
            let arguments = if string_body(arguments).is_empty() {
                "{}".into()
            } else {
                Text::from(arguments)
            };
            ids.push(call.word("id")?);
            let name = function.string("name")?.into();
            calls.push(Call::new(call.string("id")?, name, arguments, None));
        }
        if let Some(at) = self.chat.assist(texts, calls, name(message)) {
            let places = ids.into_iter().enumerate();
            self.calls
                .extend(places.map(|(index, id)| (id, (at, index))));
        }
        Ok(())
    }

    /// Adds the result of a call. Of several results of a call the last one counts.
    fn add_result(&mut self, message: &Object<'a, '_>) -> Result<(), Problem> {
        let result = match (message.some("content"), message.optional_string("error")?) {
            (Some(content), Some(error)) if content.get() == "\"\"" => error.into(),
            (None, Some(error)) => error.into(),
            _ => Text::Written(texts(message)?),
        };
        let id = message.word("toolCallId")?;
        let Some(call) = self.calls.get(&id) else {
            return Err(Problem::at(
                message.at("toolCallId"),
                "expected the id of a tool call in an earlier message, found another one",
            ));
        };
        self.chat.answer(*call, result);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::request_map::{RequestForm, to_openai_chat};

    /// Maps a body, and returns the result or the error as text.
    fn mapped(body: &str) -> String {
        match to_openai_chat(RequestForm::AgUi, body.as_bytes()) {
            Ok(mapped) => String::from_utf8(mapped).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    /// Maps messages, and returns those that they become.
    fn messages(messages: &str) -> String {
        let mapped = mapped(&format!(
            r#"{{"threadId":"t","runId":"r","messages":[{messages}]}}"#
        ));
        let inner = mapped
            .strip_prefix(r#"{"messages":["#)
            .and_then(|rest| rest.strip_suffix(r#"],"stream":true}"#));
        inner.unwrap_or(&mapped).to_owned()
    }

    #[test]
    fn each_member_has_its_place() {
        let body = r#"{"threadId":"t","runId":"r","parentRunId":"p","protocolVersion":"1","state":{"a":1},"resume":[],"x":1.0,
            "messages":[{"id":"1","role":"system","content":"Be kind"},{"id":"2","role":"user","content":"Hi","name":"ann"}],
            "tools":[{"name":"f","description":"d","parameters":{"type": "object"}}],
            "context":[{"description":"Page","value":"\u0041"},{"description":"Count","value":2}],
            "forwardedProps":{"model":"m","x":2,"messages":[],"tools":[],"temperature":0.50}}"#;
        assert_eq!(
            mapped(body),
            concat!(
                r#"{"messages":[{"role":"system","content":"Be kind"},"#,
                r#"{"role":"system","content":"Context from the application:\n\nPage:\nA\n\nCount:\n2"},"#,
                r#"{"role":"user","content":"Hi","name":"ann"}],"stream":true,"#,
                r#""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type": "object"}}}],"#,
                r#""model":"m","temperature":0.50,"x":1.0}"#
            )
        );
        let empty = r#"{"messages":[],"context":[{"description":"a","value":"b"}],"forwardedProps":{"stream":false}}"#;
        assert_eq!(
            mapped(empty),
            r#"{"messages":[{"role":"system","content":"Context from the application:\n\na:\nb"}],"stream":false}"#
        );
    }

    #[test]
    fn results_follow_their_calls() {
        let call = |id: &str| {
            format!(
                r#"{{"role":"assistant","toolCalls":[{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{\"n\":1.0}}"}}}}]}}"#
            )
        };
        let result =
            |id: &str| format!(r#"{{"role":"tool","toolCallId":"{id}","content":"of {id}"}}"#);
        let (a, b) = (call("a"), call("b"));
        let got = messages(&format!("{a},{b},{},{}", result("a"), result("b")));
        let want = |id: &str| {
            concat!(
                r#"{"role":"assistant","content":null,"tool_calls":[{"id":"ID","type":"function","function":{"name":"f","arguments":"{\"n\":1.0}"}}]},"#,
                r#"{"role":"tool","tool_call_id":"ID","content":"of ID"}"#
            )
            .replace("ID", id)
        };
        assert_eq!(got, format!("{},{}", want("a"), want("b")));
        // Some backends count the ids of each run from the beginning.
        let turn = format!("{a},{}", result("a"));
        let again = messages(&format!("{turn},{turn}"));
        assert_eq!(again, format!("{},{}", want("a"), want("a")));
        let question = r#"{"role":"user","content":"?"}"#;
        let open = messages(&format!("{a},{question}"));
        assert!(open.contains("not answered"), "{open}");
        assert!(!messages(&a).contains("not answered"));
        let failed = r#"{"role":"tool","toolCallId":"a","content":"","error":"broke"}"#;
        assert!(messages(&format!("{a},{failed}")).ends_with(r#""content":"broke"}"#));
    }

    #[test]
    fn what_is_not_for_the_model_is_left_out() {
        let got = messages(
            r#"{"role":"reasoning","content":"hm"},{"role":"activity","activityType":"a","content":{}},{"role":"assistant","content":""},
            {"role":"user","content":[]},{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"a b"}"#,
        );
        assert_eq!(got, r#"{"role":"developer","content":"ab"}"#);
    }

    #[test]
    fn errors_name_the_place_and_the_way_on() {
        for (got, want) in [
            (mapped("{}"), "messages: expected an array, found nothing"),
            (
                mapped(r#"{"messages":[]}"#),
                "messages: expected a message for the model",
            ),
            (
                mapped(r#"{"messages":[],"context":1}"#),
                "context: expected an array, found a number",
            ),
            (
                mapped(r#"{"messages":[],"context":[{"description":"d"}]}"#),
                "context[0].value: expected a string, found nothing",
            ),
            (
                mapped(r#"{"messages":[],"tools":[{}]}"#),
                "tools[0].name: expected a string, found nothing",
            ),
            (
                mapped(r#"{"messages":[],"forwardedProps":"a"}"#),
                "forwardedProps: expected an object, found a string",
            ),
            (
                mapped(r#"{"messages":[],"resume":[{}]}"#),
                "resume: expected no answers",
            ),
            (
                messages(r#"{"role":"robot"}"#),
                "messages[0].role: expected `system`, ",
            ),
            (
                messages(r#"{"role":"user"}"#),
                "messages[0].content: expected a string or an array, found nothing",
            ),
            (
                messages(r#"{"role":"system","content":null}"#),
                "messages[0].content: expected a string or an array, found null",
            ),
            (
                messages(r#"{"role":"user","content":[{"type":"x"}]}"#),
                "messages[0].content[0].type: expected `text`, ",
            ),
            (
                messages(r#"{"role":"user","content":[{"type":"image","source":{"type":"x"}}]}"#),
                "messages[0].content[0].source.type: expected `url`, ",
            ),
            (
                messages(r#"{"role":"user","content":[{"type":"binary","mimeType":"a/b"}]}"#),
                "messages[0].content[0]: expected `data`, ",
            ),
            (
                messages(r#"{"role":"tool","toolCallId":"c","content":""}"#),
                "messages[0].toolCallId: expected the id",
            ),
            (
                messages(r#"{"role":"tool","toolCallId":"c","content":[{"type":"image"}]}"#),
                "messages[0].content[0].type: expected `text`, ",
            ),
            (
                messages(r#"{"role":"assistant","toolCalls":[{"id":"c"}]}"#),
                "messages[0].toolCalls[0].function: expected an object, found nothing",
            ),
        ] {
            assert!(got.contains(want), "{got}");
            assert!(got.contains("remove `request`"), "{got}");
        }
    }
}
