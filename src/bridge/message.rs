//! What clients say: JSON objects by their `type`, and the bare word `ack` of some tutorials.

use super::ai_sdk::{self, FromAiSdk};
use super::members::{Members, Mistake};

/// What a client says. Ids of messages are JSON, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The client has the event of this number and all before it: of a stream, or of each.
    Ack { stream: Option<String>, seq: u64 },
    /// The client has everything that was sent to it.
    AckAll,
    /// The client speaks as the AI SDK does.
    AiSdk(FromAiSdk),
    /// A stream, or the run of a message, is to end; all of them if none is named.
    Interrupt {
        stream: Option<String>,
        request: Option<String>,
    },
    /// The client asks whether anybody is there.
    Ping { id: Option<String> },
    /// The client comes back to a stream.
    Resume {
        request: Option<String>,
        stream: String,
        after: u64,
    },
    /// The client has something for the agent.
    Run {
        request: Option<String>,
        body: String,
    },
}

/// Reads a message.
///
/// # Errors
/// If it is not understood.
pub fn read(text: &str) -> Result<Message, Mistake> {
    if text.trim() == "ack" {
        return Ok(Message::AckAll);
    }
    let members = Members::read(text)?;
    // A message of a client of one's own may have such a member for the agent.
    if members.get("requestId").is_some() && members.get("type") != Some("\"message\"") {
        return ai_sdk::read(&members).map(Message::AiSdk);
    }
    let request = members.id("id")?;
    let kind = members.text("type")?;
    let missing = |name: &str| Mistake::Meaningless {
        code: "bad_message",
        message: format!("The message has no `{name}`."),
        request: request.clone(),
    };
    match kind.as_deref() {
        Some("message") => Ok(Message::Run {
            body: match members.get("body") {
                Some(body) => body.to_owned(),
                None => members.without(&["type", "id"]),
            },
            request,
        }),
        Some("ack") => Ok(match members.number("seq")? {
            Some(seq) => Message::Ack {
                stream: members.text("stream")?,
                seq,
            },
            None => Message::AckAll,
        }),
        Some("interrupt" | "stop") => Ok(Message::Interrupt {
            stream: members.text("stream")?,
            request,
        }),
        Some("resume") => Ok(Message::Resume {
            stream: members.text("stream")?.ok_or_else(|| missing("stream"))?,
            after: members.number("after")?.unwrap_or_default(),
            request,
        }),
        Some("ping") => Ok(Message::Ping { id: request }),
        None => Err(missing("type")),
        Some(_) => Err(Mistake::Meaningless {
            code: "unknown_type",
            message:
                "The type of the message is none of message, ack, interrupt, stop, resume and ping."
                    .to_owned(),
            request,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::members::{MAX_ID_BYTES, MAX_MEMBERS};

    fn run(request: Option<&str>, body: &str) -> Message {
        Message::Run {
            request: request.map(str::to_owned),
            body: body.to_owned(),
        }
    }

    #[test]
    fn messages_are_read_by_their_type() {
        let text = |text: &str| Some(text.to_owned());
        for (sent, want) in [
            (
                "{\"type\":\"message\",\"id\":\"q1\",\"body\":{\"input\":\"Oslo?\", \"n\":1.50}}",
                run(Some("\"q1\""), "{\"input\":\"Oslo?\", \"n\":1.50}"),
            ),
            ("{\"type\":\"message\",\"body\":[1]}", run(None, "[1]")),
            (
                "{\"type\":\"message\",\"content\":\"hi\",\"n\": 1.50,\"id\":7}",
                run(Some("7"), "{\"content\":\"hi\",\"n\":1.50}"),
            ),
            ("{\"type\":\"message\"}", run(None, "{}")),
            (
                "{\"content\":\"a\\nb\",\"type\":\"message\"}",
                run(None, "{\"content\":\"a\\nb\"}"),
            ),
            (
                "{\"type\":\"ack\",\"stream\":\"s\",\"seq\":8}",
                Message::Ack {
                    stream: text("s"),
                    seq: 8,
                },
            ),
            (
                "{\"type\":\"ack\",\"seq\":8}",
                Message::Ack {
                    stream: None,
                    seq: 8,
                },
            ),
            ("{\"type\":\"ack\"}", Message::AckAll),
            ("ack", Message::AckAll),
            (" ack\n", Message::AckAll),
            (
                "{\"type\":\"interrupt\",\"stream\":\"s\"}",
                Message::Interrupt {
                    stream: text("s"),
                    request: None,
                },
            ),
            (
                "{\"type\":\"stop\",\"id\":\"q\"}",
                Message::Interrupt {
                    stream: None,
                    request: text("\"q\""),
                },
            ),
            (
                "{\"type\":\"resume\",\"stream\":\"s\",\"after\":10}",
                Message::Resume {
                    request: None,
                    stream: text("s").unwrap(),
                    after: 10,
                },
            ),
            (
                "{\"type\":\"resume\",\"stream\":\"s\",\"after\":null}",
                Message::Resume {
                    request: None,
                    stream: text("s").unwrap(),
                    after: 0,
                },
            ),
            ("{\"type\":\"ping\"}", Message::Ping { id: None }),
            (
                "{\"type\":\"ping\",\"id\":1}",
                Message::Ping { id: text("1") },
            ),
        ] {
            assert_eq!(read(sent), Ok(want), "{sent}");
        }
    }

    #[test]
    fn what_is_json_and_means_nothing_is_said_to_the_client() {
        for (sent, code, request) in [
            ("[]", "bad_message", None),
            ("1", "bad_message", None),
            ("\"ack\"", "bad_message", None),
            ("{}", "bad_message", None),
            ("{\"id\":\"q\"}", "bad_message", Some("\"q\"")),
            ("{\"type\":1,\"id\":\"q\"}", "bad_message", Some("\"q\"")),
            (
                "{\"type\":\"hello\",\"id\":\"q\"}",
                "unknown_type",
                Some("\"q\""),
            ),
            (
                "{\"type\":\"resume\",\"id\":\"q\"}",
                "bad_message",
                Some("\"q\""),
            ),
            (
                "{\"type\":\"resume\",\"stream\":\"s\",\"after\":-1}",
                "bad_message",
                None,
            ),
            (
                "{\"type\":\"ack\",\"stream\":1,\"seq\":1}",
                "bad_message",
                None,
            ),
            ("{\"type\":\"ping\",\"id\":{}}", "bad_message", None),
            (
                "{\"requestId\":\"q\",\"type\":\"hello\"}",
                "unknown_type",
                Some("\"q\""),
            ),
        ] {
            let Err(Mistake::Meaningless {
                code: said,
                request: of,
                ..
            }) = read(sent)
            else {
                panic!("{sent} is understood");
            };
            assert_eq!((said, of.as_deref()), (code, request), "{sent}");
        }
        let long = format!(
            "{{\"type\":\"ping\",\"id\":\"{}\"}}",
            "x".repeat(MAX_ID_BYTES)
        );
        assert!(matches!(read(&long), Err(Mistake::Meaningless { .. })));
        let many: Vec<_> = (0..=MAX_MEMBERS).map(|at| format!("\"{at}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert!(matches!(read(&many), Err(Mistake::Meaningless { .. })));
    }

    #[test]
    fn what_is_no_json_is_something_else() {
        for sent in [
            "",
            "hello",
            "{",
            "{\"type\":\"ping\"",
            "{\"type\":\"ping\"}}",
            "ack ack",
        ] {
            assert_eq!(read(sent), Err(Mistake::NotJson), "{sent}");
        }
    }
}
