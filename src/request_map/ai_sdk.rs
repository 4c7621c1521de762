//! Bodies of `useChat`, from AI SDK 5 on: `{id, messages, trigger, messageId}` and what the application adds.
//!
//! A message has parts. Those of the assistant may be the record of several steps: what the model said, the calls it
//! made and their results, then what it said next. Each step becomes a message of its own.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::chat::{Call, Content, Conversation, Part, Request, Role, Text};
use super::file::{File, Source};
use super::read::{Object, Path, Problem, object};

/// The members of the protocol, which are not for the model.
const OWN: [&str; 4] = ["id", "messageId", "messages", "trigger"];
const TYPES: &str = "`text`, `file`, `step-start`, `dynamic-tool`, `tool-NAME`, or a part that is not for the model \
                     (`reasoning`, `source-*`, `data-*`)";
const STATES: &str = "`input-streaming`, `input-available`, `approval-requested`, `approval-responded`, \
                      `output-available`, `output-error` or `output-denied`";

/// Maps a body.
pub(super) fn map<'a>(body: &Object<'a, '_>) -> Result<Request<'a>, Problem> {
    let mut chat = Conversation::default();
    let at = body.at("messages");
    for (index, json) in body.array("messages")?.into_iter().enumerate() {
        add(&object(json, Path::Index(&at, index))?, &mut chat)?;
    }
    Ok(Request::new(chat, Vec::new(), body.members_without(&OWN)))
}

/// Adds what a message becomes.
fn add<'a>(message: &Object<'a, '_>, chat: &mut Conversation<'a>) -> Result<(), Problem> {
    let role = message.word("role")?;
    let parts = message.array("parts")?;
    match &*role {
        "assistant" => add_assistant(message, parts, chat),
        "system" => add_system(message, parts, chat),
        "user" => add_user(message, parts, chat),
        _ => {
            let known = "`system`, `user` or `assistant`";
            Err(Problem::unknown(message.at("role"), known, &role))
        }
    }
}

fn add_system<'a>(
    message: &Object<'a, '_>,
    parts: Vec<&'a RawValue>,
    chat: &mut Conversation<'a>,
) -> Result<(), Problem> {
    let at = message.at("parts");
    let mut texts = Vec::new();
    for (index, json) in parts.into_iter().enumerate() {
        let part = object(json, Path::Index(&at, index))?;
        match kind(&part)? {
            Kind::Text => texts.push(part.string("text")?),
            Kind::LeftOut | Kind::Step => {}
            Kind::File | Kind::Tool(_) => return Err(misplaced(&part, "`text`", "system")?),
        }
    }
    if !texts.is_empty() {
        chat.say(Role::System, Content::Text(Text::Written(texts)), None);
    }
    Ok(())
}

fn add_user<'a>(
    message: &Object<'a, '_>,
    parts: Vec<&'a RawValue>,
    chat: &mut Conversation<'a>,
) -> Result<(), Problem> {
    let at = message.at("parts");
    let mut mapped = Vec::new();
    for (index, json) in parts.into_iter().enumerate() {
        let part = object(json, Path::Index(&at, index))?;
        match kind(&part)? {
            Kind::File => mapped.push(file(&part)?),
            Kind::LeftOut | Kind::Step => {}
            Kind::Text => mapped.push(Part::Text {
                text: part.string("text")?.into(),
            }),
            Kind::Tool(_) => return Err(misplaced(&part, "`text` or `file`", "user")?),
        }
    }
    if let Some(content) = Content::of(mapped) {
        chat.say(Role::User, content, None);
    }
    Ok(())
}

fn add_assistant<'a>(
    message: &Object<'a, '_>,
    parts: Vec<&'a RawValue>,
    chat: &mut Conversation<'a>,
) -> Result<(), Problem> {
    let at = message.at("parts");
    let mut step = Step::default();
    for (index, json) in parts.into_iter().enumerate() {
        let part = object(json, Path::Index(&at, index))?;
        match kind(&part)? {
            Kind::Step => step.end(chat),
            Kind::Text => {
                // What follows results was said after them, even if no separator says so.
                if step.is_answered() {
                    step.end(chat);
                }
                step.texts.push(part.string("text")?);
            }
            Kind::Tool(name) => step.calls.extend(call(&part, name)?),
            // OpenAI's messages of the assistant have no files.
            Kind::File | Kind::LeftOut => {}
        }
    }
    step.end(chat);
    Ok(())
}

/// A step of the assistant.
#[derive(Default)]
struct Step<'a> {
    texts: Vec<&'a RawValue>,
    calls: Vec<Call<'a>>,
}

impl<'a> Step<'a> {
    /// Adds the step to the conversation, and begins the next one.
    fn end(&mut self, chat: &mut Conversation<'a>) {
        let Self { texts, calls } = std::mem::take(self);
        chat.assist(texts, calls, None);
    }

    /// Reports whether there are calls, and all have results.
    fn is_answered(&self) -> bool {
        !self.calls.is_empty() && self.calls.iter().all(Call::is_answered)
    }
}

/// What a part is.
enum Kind<'a> {
    File,
    /// The part is not for the model.
    LeftOut,
    /// A separator of steps.
    Step,
    Text,
    /// A call of the tool with this name.
    Tool(Text<'a>),
}

fn kind<'a>(part: &Object<'a, '_>) -> Result<Kind<'a>, Problem> {
    let word = part.word("type")?;
    Ok(match &*word {
        "custom" | "reasoning" | "reasoning-file" => Kind::LeftOut,
        "dynamic-tool" => Kind::Tool(part.string("toolName")?.into()),
        "file" => Kind::File,
        "step-start" => Kind::Step,
        "text" => Kind::Text,
        other if other.starts_with("data-") || other.starts_with("source-") => Kind::LeftOut,
        other => match other.strip_prefix("tool-") {
            Some(name) if !name.is_empty() => Kind::Tool(Text::Plain(Cow::Owned(name.to_owned()))),
            _ => return Err(Problem::unknown(part.at("type"), TYPES, other)),
        },
    })
}

/// Returns the problem of a part that messages of this role do not have.
fn misplaced(part: &Object<'_, '_>, wanted: &str, role: &str) -> Result<Problem, Problem> {
    let known = format!("{wanted} in a message of the role `{role}`");
    let word = part.word("type")?;
    Ok(Problem::unknown(part.at("type"), &known, &word))
}

fn file<'a>(part: &Object<'a, '_>) -> Result<Part<'a>, Problem> {
    let file = File {
        media_type: part.word("mediaType")?,
        filename: part.optional_string("filename")?,
        source: Source::Url(part.string("url")?),
    };
    file.into_part(part.path())
}

/// Returns the call that a part records; `None` if its input is not complete.
fn call<'a>(part: &Object<'a, '_>, name: Text<'a>) -> Result<Option<Call<'a>>, Problem> {
    let state = part.word("state")?;
    let mut input = part.raw("input");
    let result = match &*state {
        "input-streaming" => return Ok(None),
        "approval-requested" | "input-available" => None,
        "approval-responded" => denial(part, Denied::IfSaid)?,
        "output-available" => Some(part.raw("output").map_or_else(|| "null".into(), Text::of)),
        "output-denied" => denial(part, Denied::Always)?,
        "output-error" => {
            input = input.or_else(|| part.raw("rawInput"));
            Some(part.string("errorText")?.into())
        }
        other => return Err(Problem::unknown(part.at("state"), STATES, other)),
    };
    let arguments = input.map_or_else(|| "{}".into(), Text::json);
    let id = part.string("toolCallId")?;
    Ok(Some(Call::new(id, name, arguments, result)))
}

/// When a call counts as denied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Denied {
    Always,
    /// If its approval says so.
    IfSaid,
}

/// Returns the result of a call that the user has denied: the reason.
fn denial<'a>(part: &Object<'a, '_>, denied: Denied) -> Result<Option<Text<'a>>, Problem> {
    let approval = part.optional_object("approval")?;
    let (refused, reason) = match &approval {
        Some(approval) => (
            approval
                .raw("approved")
                .is_some_and(|word| word.get() == "false"),
            approval.optional_string("reason")?,
        ),
        None => (false, None),
    };
    let text = || reason.map_or_else(|| "The user has denied this tool call.".into(), Text::from);
    Ok((refused || denied == Denied::Always).then(text))
}

#[cfg(test)]
mod tests {
    use crate::request_map::{RequestForm, to_openai_chat};

    /// Maps a body, and returns the result or the error as text.
    fn mapped(body: &str) -> String {
        match to_openai_chat(RequestForm::AiSdk, body.as_bytes()) {
            Ok(mapped) => String::from_utf8(mapped).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    /// Maps messages, and returns those that they become.
    fn messages(messages: &str) -> String {
        let mapped = mapped(&format!(r#"{{"messages":[{messages}]}}"#));
        let inner = mapped
            .strip_prefix(r#"{"messages":["#)
            .and_then(|rest| rest.strip_suffix(r#"],"stream":true}"#));
        inner.unwrap_or(&mapped).to_owned()
    }

    /// Maps the parts of the assistant, with a question behind them.
    fn assistant(parts: &str) -> String {
        let question = r#"{"role":"user","parts":[{"type":"text","text":"?"}]}"#;
        let mapped = messages(&format!(
            r#"{{"role":"assistant","parts":[{parts}]}},{question}"#
        ));
        mapped
            .strip_suffix(r#"{"role":"user","content":"?"}"#)
            .map_or(&*mapped, |rest| rest.trim_end_matches(','))
            .to_owned()
    }

    #[test]
    fn members_of_the_application_are_kept_as_written() {
        let body = r#"{"id":"c","trigger":"submit-message","messageId":null,"model":"m","temperature":0.10,
            "messages":[{"id":"1","role":"system","metadata":{},"parts":[{"type":"text","text":"Be "},{"type":"text","text":"kind"}]},
            {"id":"2","role":"user","parts":[{"type":"text","text":"H\u00e9"}]}],"stream":false}"#;
        assert_eq!(
            mapped(body),
            r#"{"messages":[{"role":"system","content":"Be kind"},{"role":"user","content":"H\u00e9"}],"stream":false,"model":"m","temperature":0.10}"#
        );
    }

    #[test]
    fn users_send_texts_and_files() {
        let user = |parts: &str| messages(&format!(r#"{{"role":"user","parts":[{parts}]}}"#));
        assert_eq!(
            user(
                r#"{"type":"text","text":"a"},{"type":"data-x","data":1},{"type":"file","mediaType":"image/png","url":"https://a.test/p"},
                {"type":"file","mediaType":"application/pdf","filename":"a.pdf","url":"data:application/pdf;base64,AA=="}"#
            ),
            concat!(
                r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a.test/p"}},"#,
                r#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AA=="}}]}"#
            )
        );
    }

    #[test]
    fn steps_become_messages_with_calls_and_results() {
        let parts = r#"{"type":"step-start"},{"type":"reasoning","text":"hm"},{"type":"text","text":"I look."},
            {"type":"tool-get_w","toolCallId":"c1","state":"output-available","input":{"n": 1.0},"output":{"t": 20}},
            {"type":"dynamic-tool","toolName":"say","toolCallId":"c2","state":"output-error","input":"x","errorText":"no\n"},
            {"type":"step-start"},{"type":"source-url","sourceId":"s","url":"u"},{"type":"text","text":"20"}"#;
        assert_eq!(
            assistant(parts),
            concat!(
                r#"{"role":"assistant","content":"I look.","tool_calls":["#,
                r#"{"id":"c1","type":"function","function":{"name":"get_w","arguments":"{\"n\": 1.0}"}},"#,
                r#"{"id":"c2","type":"function","function":{"name":"say","arguments":"\"x\""}}]},"#,
                r#"{"role":"tool","tool_call_id":"c1","content":"{\"t\": 20}"},"#,
                r#"{"role":"tool","tool_call_id":"c2","content":"no\n"},"#,
                r#"{"role":"assistant","content":"20"}"#
            )
        );
        let without_separator = parts.replace(r#"{"type":"step-start"},"#, "");
        assert_eq!(assistant(&without_separator), assistant(parts));
    }

    #[test]
    fn each_state_of_a_call_has_its_result() {
        for (part, want) in [
            (r#""state":"input-available","input":{}"#, "not answered"),
            (
                r#""state":"approval-requested","approval":{"id":"a"}"#,
                "not answered",
            ),
            (
                r#""state":"approval-responded","approval":{"id":"a","approved":true}"#,
                "not answered",
            ),
            (
                r#""state":"approval-responded","approval":{"id":"a","approved":false}"#,
                "has denied",
            ),
            (
                r#""state":"output-denied","approval":{"id":"a","approved":false,"reason":"too dear"}"#,
                r#""content":"too dear""#,
            ),
            (r#""state":"output-denied""#, "has denied"),
            (
                r#""state":"output-available","output":"plain""#,
                r#""content":"plain""#,
            ),
            (r#""state":"output-available""#, r#""content":"null""#),
            (
                r#""state":"output-error","rawInput":"{x","errorText":"e""#,
                r#""arguments":"\"{x\"""#,
            ),
        ] {
            let mapped = assistant(&format!(r#"{{"type":"tool-f","toolCallId":"c",{part}}}"#));
            assert!(mapped.contains(want), "{part}: {mapped}");
            assert_eq!(mapped.matches(r#""role":"tool""#).count(), 1, "{mapped}");
        }
        let streaming = r#"{"type":"tool-f","toolCallId":"c","state":"input-streaming"}"#;
        assert_eq!(assistant(streaming), "");
    }

    #[test]
    fn the_last_call_may_wait_for_its_result() {
        let part = r#"{"type":"tool-f","toolCallId":"c","state":"input-available","input":{}}"#;
        assert_eq!(
            messages(&format!(r#"{{"role":"assistant","parts":[{part}]}}"#)),
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#
        );
    }

    #[test]
    fn errors_name_the_place_and_the_way_on() {
        let in_part = |part: &str| {
            messages(&format!(
                r#"{{"role":"user","parts":[{{"type":"text","text":""}},{part}]}}"#
            ))
        };
        for (got, want) in [
            (mapped("{}"), "messages: expected an array, found nothing"),
            (
                mapped(r#"{"messages":{}}"#),
                "messages: expected an array, found an object",
            ),
            (
                messages("1"),
                "messages[0]: expected an object, found a number",
            ),
            (
                messages(r#"{"role":"user"}"#),
                "messages[0].parts: expected an array, found nothing",
            ),
            (
                messages(r#"{"parts":[]}"#),
                "messages[0].role: expected a string, found nothing",
            ),
            (
                messages(r#"{"role":"tool","parts":[]}"#),
                "messages[0].role: expected `system`, `user` or `assistant`, found `tool`",
            ),
            (
                in_part("null"),
                "messages[0].parts[1]: expected an object, found null",
            ),
            (
                in_part(r#"{"type":"video"}"#),
                "messages[0].parts[1].type: expected `text`, ",
            ),
            (in_part(r#"{"type":"tool-"}"#), "found `tool-`"),
            (
                in_part(r#"{"type":"tool-f"}"#),
                "in a message of the role `user`, found `tool-f`",
            ),
            (
                in_part(r#"{"type":"text","text":7}"#),
                "messages[0].parts[1].text: expected a string, found a number",
            ),
            (
                in_part(r#"{"type":"file","mediaType":"a/b","url":"https://a.test"}"#),
                "messages[0].parts[1]: expected an image",
            ),
            (
                assistant(r#"{"type":"tool-f","toolCallId":"c","state":"gone"}"#),
                "messages[0].parts[0].state: expected",
            ),
            (
                assistant(r#"{"type":"tool-f","state":"input-available"}"#),
                "messages[0].parts[0].toolCallId: expected",
            ),
            (
                messages(r#"{"role":"user","parts":[]}"#),
                "messages: expected a message for the model",
            ),
        ] {
            assert!(got.contains(want), "{got}");
            assert!(got.contains("prepareSendMessagesRequest"), "{got}");
        }
    }
}
