//! The target: the messages and tools of a chat completion request, as OpenAI's API takes them.
//!
//! OpenAI refuses a conversation in which a message that calls tools is not followed by their results. So a call holds
//! its result, and both are written together: there is no result without a call, and none in another place.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Serialize;
use serde::ser::{Error as _, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use super::read::{is_string, string_body};

/// The result of a call that nobody has answered, if the conversation went on.
static UNANSWERED: Text<'static> = Text::Plain(Cow::Borrowed("This tool call was not answered."));

/// A chat completion request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    messages: Conversation<'a>,
    stream: &'a RawValue,
    tools: Vec<Tool<'a>>,
    others: Vec<(String, &'a RawValue)>,
}

impl<'a> Request<'a> {
    /// Creates a request. Of `members` with the same name the last one counts; those that the request has itself are
    /// left out, except that `stream` is `true` only if no member says otherwise.
    pub(super) fn new(
        messages: Conversation<'a>,
        tools: Vec<Tool<'a>>,
        mut members: Vec<(String, &'a RawValue)>,
    ) -> Self {
        let mut seen = HashSet::new();
        members.reverse();
        members.retain(|(name, _)| seen.insert(name.clone()));
        members.reverse();
        let said = members
            .iter()
            .find(|(name, value)| name == "stream" && value.get() != "null");
        let stream = said.map_or(RawValue::TRUE, |(_, value)| *value);
        members.retain(|(name, _)| match name.as_str() {
            "messages" | "stream" => false,
            "tools" => tools.is_empty(),
            _ => true,
        });
        Self {
            messages,
            stream,
            tools,
            others: members,
        }
    }

    /// Reports whether there is no message.
    pub(super) const fn is_empty(&self) -> bool {
        self.messages.0.is_empty()
    }
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut request = serializer.serialize_map(None)?;
        request.serialize_entry("messages", &self.messages)?;
        request.serialize_entry("stream", self.stream)?;
        if !self.tools.is_empty() {
            request.serialize_entry("tools", &self.tools)?;
        }
        for (name, value) in &self.others {
            request.serialize_entry(name, value)?;
        }
        request.end()
    }
}

/// The messages. Those with the results of tools are part of the message with their calls.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a>(Vec<Message<'a>>);

impl<'a> Conversation<'a> {
    /// Adds a message without calls.
    pub(super) fn say(&mut self, role: Role, content: Content<'a>, name: Option<&'a RawValue>) {
        self.0.push(Message {
            role,
            content,
            name,
            tool_calls: Vec::new(),
        });
    }

    /// Adds a message of the assistant, unless it is empty. Returns its number.
    pub(super) fn assist(
        &mut self,
        mut texts: Vec<&'a RawValue>,
        calls: Vec<Call<'a>>,
        name: Option<&'a RawValue>,
    ) -> Option<usize> {
        texts.retain(|text| !string_body(text).is_empty());
        if texts.is_empty() && calls.is_empty() {
            return None;
        }
        let content = if texts.is_empty() {
            Content::Nothing
        } else {
            Content::Text(Text::Written(texts))
        };
        self.0.push(Message {
            role: Role::Assistant,
            content,
            name,
            tool_calls: calls,
        });
        self.0.len().checked_sub(1)
    }

    /// Sets the result of a call, given the numbers of its message and of the call there.
    pub(super) fn answer(&mut self, (message, call): (usize, usize), result: Text<'a>) {
        let message = self.0.get_mut(message);
        if let Some(call) = message.and_then(|message| message.tool_calls.get_mut(call)) {
            call.result = Some(result);
        }
    }
}

impl Serialize for Conversation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut messages = self.0.iter().peekable();
        while let Some(message) = messages.next() {
            list.serialize_element(message)?;
            for call in &message.tool_calls {
                let content = match &call.result {
                    Some(result) => result,
                    None if messages.peek().is_none() => continue,
                    None => &UNANSWERED,
                };
                list.serialize_element(&Answer {
                    role: "tool",
                    tool_call_id: call.id,
                    content,
                })?;
            }
        }
        list.end()
    }
}

/// Who says something.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Assistant,
    Developer,
    System,
    User,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: Role,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

/// The message with the result of a call.
#[derive(Serialize)]
struct Answer<'a> {
    role: &'static str,
    tool_call_id: &'a RawValue,
    content: &'a Text<'a>,
}

/// What a message says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    /// `null`: the message only calls tools.
    Nothing,
    Parts(Vec<Part<'a>>),
    Text(Text<'a>),
}

impl<'a> Content<'a> {
    /// Returns the content that consists of `parts`: a string if there is only one text. `None` if there is no part.
    pub(super) fn of(mut parts: Vec<Part<'a>>) -> Option<Self> {
        match parts.pop()? {
            Part::Text { text } if parts.is_empty() => Some(Self::Text(text)),
            last => {
                parts.push(last);
                Some(Self::Parts(parts))
            }
        }
    }
}

/// A part of a content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'a> {
    File { file: FileContent<'a> },
    ImageUrl { image_url: ImageUrl<'a> },
    InputAudio { input_audio: InputAudio<'a> },
    Text { text: Text<'a> },
}

/// A file, which is in the request or was uploaded before.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum FileContent<'a> {
    Data {
        filename: Text<'a>,
        /// A data URL.
        file_data: Text<'a>,
    },
    Uploaded {
        file_id: Text<'a>,
    },
}

/// Where an image is: an address or a data URL.
#[derive(Debug, Serialize)]
pub(super) struct ImageUrl<'a> {
    pub(super) url: Text<'a>,
}

/// A recording.
#[derive(Debug, Serialize)]
pub(super) struct InputAudio<'a> {
    /// In Base64.
    pub(super) data: Text<'a>,
    pub(super) format: &'static str,
}

/// A call of a tool.
#[derive(Debug, Serialize)]
pub(super) struct Call<'a> {
    id: &'a RawValue,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
    #[serde(skip)]
    result: Option<Text<'a>>,
}

impl<'a> Call<'a> {
    /// Creates a call. `arguments` are JSON, as text.
    pub(super) const fn new(
        id: &'a RawValue,
        name: Text<'a>,
        arguments: Text<'a>,
        result: Option<Text<'a>>,
    ) -> Self {
        Self {
            id,
            kind: "function",
            function: CalledFunction { name, arguments },
            result,
        }
    }

    /// Reports whether there is a result.
    pub(super) const fn is_answered(&self) -> bool {
        self.result.is_some()
    }
}

#[derive(Debug, Serialize)]
struct CalledFunction<'a> {
    name: Text<'a>,
    arguments: Text<'a>,
}

/// A tool that the model may call.
#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

impl<'a> Tool<'a> {
    /// Creates a tool. `parameters` are a JSON schema.
    pub(super) const fn new(
        name: &'a RawValue,
        description: Option<&'a RawValue>,
        parameters: Option<&'a RawValue>,
    ) -> Self {
        Self {
            kind: "function",
            function: Function {
                name,
                description,
                parameters,
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
}

/// A text.
#[derive(Debug)]
pub(super) enum Text<'a> {
    /// The text as it is, without escapes.
    Plain(Cow<'a, str>),
    /// JSON strings that make one text together. They are copied as they were written.
    Written(Vec<&'a RawValue>),
}

impl<'a> Text<'a> {
    /// Returns the text of a value: what a string says, or any other value as JSON.
    pub(super) fn of(value: &'a RawValue) -> Self {
        if is_string(value) {
            value.into()
        } else {
            Self::json(value)
        }
    }

    /// Returns the JSON of a value as text.
    pub(super) fn json(value: &'a RawValue) -> Self {
        Self::Plain(Cow::Borrowed(value.get()))
    }
}

impl<'a> From<&'a RawValue> for Text<'a> {
    /// Creates a text from a JSON string.
    fn from(string: &'a RawValue) -> Self {
        Self::Written(vec![string])
    }
}

impl From<&'static str> for Text<'_> {
    fn from(text: &'static str) -> Self {
        Self::Plain(Cow::Borrowed(text))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Written(strings) => match strings.as_slice() {
                [string] => string.serialize(serializer),
                strings => {
                    let body: String = strings.iter().map(|string| string_body(string)).collect();
                    let joined = RawValue::from_string(format!("\"{body}\""));
                    joined.map_err(S::Error::custom)?.serialize(serializer)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn written(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn strings_are_joined_as_they_were_written() {
        let text = Text::Written(vec![raw(r#""a\u0062""#), raw(r#""\"c""#)]);
        assert_eq!(written(&text), r#""a\u0062\"c""#);
        assert_eq!(written(&Text::Written(Vec::new())), r#""""#);
    }

    #[test]
    fn a_call_in_the_middle_gets_a_result() {
        let call = || Call::new(raw(r#""c""#), "f".into(), "{}".into(), None);
        let mut chat = Conversation::default();
        assert_eq!(chat.assist(Vec::new(), vec![call()], None), Some(0));
        assert_eq!(
            written(&chat).matches("\"tool\"").count(),
            0,
            "the last message"
        );
        assert_eq!(chat.assist(Vec::new(), vec![call()], None), Some(1));
        assert_eq!(written(&chat).matches("not answered").count(), 1);
        chat.answer((1, 0), "yes".into());
        chat.answer((0, 0), "no".into());
        assert_eq!(written(&chat).matches("\"tool\"").count(), 2);
        assert_eq!(written(&chat).matches("not answered").count(), 0);
        // There is no such call.
        chat.answer((7, 7), "".into());
    }

    #[test]
    fn the_last_member_of_a_name_counts_unless_the_request_has_it() {
        let members = || {
            let members = ["a", "stream", "tools", "messages", "a"].into_iter();
            let values = ["1", "null", "[]", "[]", "2.50"].into_iter().map(raw);
            members.map(str::to_owned).zip(values).collect::<Vec<_>>()
        };
        let request = Request::new(Conversation::default(), Vec::new(), members());
        assert_eq!(
            written(&request),
            r#"{"messages":[],"stream":true,"tools":[],"a":2.50}"#
        );
        let tool = Tool::new(raw(r#""f""#), None, None);
        let mut members = members();
        members.push(("stream".to_owned(), RawValue::FALSE));
        let request = Request::new(Conversation::default(), vec![tool], members);
        assert_eq!(
            written(&request),
            r#"{"messages":[],"stream":false,"tools":[{"type":"function","function":{"name":"f"}}],"a":2.50}"#
        );
    }
}
