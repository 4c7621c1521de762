//! Maps the request bodies of chat clients to chat completion requests, for agents that speak OpenAI's chat API.
//!
//! ```text
//! body ──► read ──► ai_sdk, ag_ui ──► chat ──► body
//!          JSON     what it means     what OpenAI takes
//! ```
//!
//! What is for the model is mapped, what is not is left out, and what the application adds passes. Values that pass are
//! copied as they were written: numbers, escapes and the order of members stay. What cannot be mapped is an error that
//! names it; nothing that the model should see is lost without a word, except files that the assistant has sent.
//!
//! No level of the body is read recursively, and the result is at most a few times as large as the body.

mod ag_ui;
mod ag_ui_content;
mod ai_sdk;
mod ask_stream;
mod chat;
mod file;
mod patch;
mod read;

use serde_json::value::RawValue;
use thiserror::Error;

pub use self::ask_stream::asking_for_stream;
pub use self::patch::patched;
use self::read::{Path, Problem};

/// The form of a request body that can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// `RunAgentInput` of AG-UI, as CopilotKit and other clients send it.
    AgUi,
    /// The body of `useChat` and other clients of the AI SDK, from version 5 on.
    AiSdk,
}

impl RequestForm {
    /// Returns the word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgUi => "ag-ui",
            Self::AiSdk => "ai-sdk",
        }
    }

    /// Returns the form that a word of the configuration names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::AgUi, Self::AiSdk]
            .into_iter()
            .find(|form| form.as_str() == word)
    }

    /// Returns what helps if a body cannot be mapped.
    const fn advice(self) -> &'static str {
        match self {
            Self::AgUi => {
                "change what the client sends, or remove `request` from the route and map the body in the agent"
            }
            Self::AiSdk => {
                "change what the client sends, with `prepareSendMessagesRequest`, or remove `request` from the route \
                 and map the body in the agent"
            }
        }
    }
}

/// A request body that cannot be mapped: what was expected, what came, where, and what helps. It repeats no text of the
/// conversation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Unmappable {
    message: String,
}

/// Maps the body of a request to a chat completion request. The result is a JSON object with `messages`, `stream` and
/// what the application has added.
///
/// # Errors
///
/// If the body is no JSON object of this form, or if OpenAI's chat API has no place for something in it.
pub fn to_openai_chat(form: RequestForm, body: &[u8]) -> Result<Vec<u8>, Unmappable> {
    map(form, body).map_err(|problem| Unmappable {
        message: format!(
            "the request cannot be mapped from {} to openai-chat: {problem}; {}",
            form.as_str(),
            form.advice()
        ),
    })
}

fn map(form: RequestForm, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Problem::at(
            Path::Top,
            format!("expected UTF-8, found another byte at {at}"),
        )
    })?;
    let json = serde_json::from_str::<&RawValue>(text).map_err(|error| {
        Problem::at(
            Path::Top,
            format!("expected a JSON object, found no JSON ({error})"),
        )
    })?;
    let body = read::object(json, Path::Top)?;
    let request = match form {
        RequestForm::AgUi => ag_ui::map(&body),
        RequestForm::AiSdk => ai_sdk::map(&body),
    }?;
    if request.is_empty() {
        return Err(Problem::at(
            body.at("messages"),
            "expected a message for the model, found none",
        ));
    }
    serde_json::to_vec(&request)
        .map_err(|error| Problem::at(Path::Top, format!("the result is no JSON ({error})")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMS: [RequestForm; 2] = [RequestForm::AgUi, RequestForm::AiSdk];

    /// A message of both forms.
    fn body(value: &str) -> String {
        format!(
            r#"{{"messages":[{{"role":"user","content":"a","parts":[{{"type":"text","text":"a"}}]}}],"x":{value}}}"#
        )
    }

    #[test]
    fn the_words_are_those_of_the_configuration() {
        for form in FORMS {
            assert_eq!(RequestForm::parse(form.as_str()), Some(form));
        }
        assert_eq!(RequestForm::parse("ai-sdk"), Some(RequestForm::AiSdk));
        assert_eq!(RequestForm::parse("AI-SDK"), None);
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "body: expected a JSON object, found no JSON (EOF"),
            (b"{\"messages\":[]", "found no JSON (EOF"),
            (b"{} {}", "found no JSON (trailing characters"),
            (b"[]", "body: expected an object, found an array"),
            (b"\"a\"", "body: expected an object, found a string"),
            (
                b"{\"a\":\"\xff\"}",
                "body: expected UTF-8, found another byte at 6",
            ),
            (b"{\"\\ud800\":1}", "half a surrogate pair"),
        ];
        for (body, want) in cases {
            for form in FORMS {
                let error = to_openai_chat(form, body).unwrap_err().to_string();
                assert!(error.contains(want), "{error}");
                assert!(error.contains(form.as_str()), "{error}");
            }
        }
    }

    #[test]
    fn values_pass_as_they_were_written() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for value in [
            "1.50e+07",
            "123456789012345678901234567890",
            r#""\u00e9\ud800\/""#,
            r#"{"b": 1, "a":2,"b":3}"#,
            &deep,
        ] {
            for form in FORMS {
                let mapped = to_openai_chat(form, body(value).as_bytes()).unwrap();
                let want = format!(
                    r#"{{"messages":[{{"role":"user","content":"a"}}],"stream":true,"x":{value}}}"#
                );
                assert_eq!(String::from_utf8(mapped).unwrap(), want);
            }
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_json(text in "(\\{|\\}|\\[|\\]|,|:|\"messages\"|\"role\"|\"user\"|\"parts\"|\"content\"|\"type\"|\"text\"|1| ){0,40}", value in "(\\\\u0041|\\\\\"|[a-zé ]){0,9}") {
            for form in FORMS {
                // Whatever comes, there is no panic.
                let _ = to_openai_chat(form, text.as_bytes());
                let mapped = to_openai_chat(form, body(&format!("\"{value}\"")).as_bytes());
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&mapped.unwrap()).is_ok());
            }
        }
    }
}
