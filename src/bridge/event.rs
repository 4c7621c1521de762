//! How events are written as messages: native events with the id of their stream, and what Weir itself has to say.

use serde::Serialize;

use super::Refusal;

/// How the end of a stream that was stopped is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stops {
    /// The client itself has stopped it.
    pub(super) by_client: bool,
    /// The end is an event `interrupted`.
    pub(super) as_interrupted: bool,
}

const START: &str = "{\"type\":\"start\",\"seq\":";
const ERROR: &str = "{\"type\":\"error\",\"seq\":";
const STOPPED: &str = ",\"code\":\"stopped\",";

/// Writes an event of a stream. `stream` is the id of the stream, and `request` the id that the client gave its
/// message, as JSON, for the first event.
pub(super) fn of_stream(event: &str, stream: &str, request: Option<&str>, stops: Stops) -> String {
    let request = request.map_or_else(String::new, |id| format!("\"request\":{id},"));
    if let Some((seq, rest)) = numbered(event, START) {
        return format!("{START}{seq},{request}\"stream\":\"{stream}\"{rest}");
    }
    if let Some((seq, rest)) = numbered(event, ERROR)
        && let Some(rest) = rest.strip_prefix(STOPPED)
    {
        let kind = if stops.as_interrupted {
            "interrupted"
        } else {
            "error"
        };
        let rest = if stops.by_client {
            "\"message\":\"Stopped by the client.\",\"retryable\":false,\"source\":\"client\",\"terminal\":true}"
        } else {
            rest
        };
        return format!(
            "{{{request}\"stream\":\"{stream}\",\"type\":\"{kind}\",\"seq\":{seq}{STOPPED}{rest}"
        );
    }
    let members = event.strip_prefix('{').unwrap_or(event);
    let comma = if members.starts_with('}') { "" } else { "," };
    format!("{{{request}\"stream\":\"{stream}\"{comma}{members}")
}

/// Returns the number behind `head`, as it is written, and what follows.
fn numbered<'a>(event: &'a str, head: &str) -> Option<(&'a str, &'a str)> {
    let rest = event.strip_prefix(head)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    (end > 0).then(|| rest.split_at(end))
}

/// Returns the number of an event; `None` if it has none.
pub(super) fn seq(event: &str) -> Option<u64> {
    const KEY: &str = "\"seq\":";
    // It is the second member.
    let at = event.find(KEY)?;
    let rest = event.get(at + KEY.len()..)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Reports whether an event ends its stream.
pub(super) fn is_last(event: &str) -> bool {
    let is = |head: &str, tail: &str| event.starts_with(head) && event.ends_with(tail);
    is("{\"type\":\"finish\",", ",\"scope\":\"run\"}")
        || is("{\"type\":\"error\",", ",\"terminal\":true}")
}

/// Something that went wrong.
#[derive(Serialize)]
struct ErrorEvent<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    retryable: bool,
    source: &'static str,
    terminal: bool,
}

/// Writes why there is no stream. `request` is JSON.
pub(super) fn refused(refusal: &Refusal, request: Option<&str>, stream: Option<&str>) -> String {
    write(&ErrorEvent {
        r#type: "error",
        request: request.and_then(|id| serde_json::from_str(id).ok()),
        stream,
        code: &refusal.code,
        message: &refusal.message,
        status: refusal.status,
        retryable: refusal.is_retryable,
        source: if refusal.by_agent { "agent" } else { "proxy" },
        terminal: false,
    })
}

/// Writes that a message cannot be understood, or not now.
pub(super) fn rejected(code: &str, message: &str, request: Option<&str>) -> String {
    let refusal = Refusal {
        code: code.to_owned(),
        message: message.to_owned(),
        status: None,
        is_retryable: code == TOO_MANY_RUNS,
        by_agent: false,
    };
    refused(&refusal, request, None)
}

/// The code for a run beyond the bound.
pub(super) const TOO_MANY_RUNS: &str = "too_many_runs";

/// Writes that the client has stopped a run before it was a stream.
pub(super) fn stopped(request: Option<&str>, stops: Stops) -> String {
    write(&ErrorEvent {
        r#type: if stops.as_interrupted {
            "interrupted"
        } else {
            "error"
        },
        request: request.and_then(|id| serde_json::from_str(id).ok()),
        stream: None,
        code: "stopped",
        message: "Stopped by the client.",
        status: None,
        retryable: false,
        source: "client",
        terminal: true,
    })
}

/// Writes that a stream has broken off without a word.
pub(super) fn broke(stream: &str) -> String {
    write(&ErrorEvent {
        r#type: "error",
        request: None,
        stream: Some(stream),
        code: "truncated",
        message: "The stream broke off.",
        status: None,
        retryable: true,
        source: "proxy",
        terminal: true,
    })
}

/// Answers a ping of the client's own. `id` is JSON.
pub(super) fn pong(id: Option<&str>) -> String {
    id.map_or_else(
        || "{\"type\":\"pong\"}".to_owned(),
        |id| format!("{{\"type\":\"pong\",\"id\":{id}}}"),
    )
}

fn write(event: &ErrorEvent<'_>) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f9c2a7e5b1d4c608e0f7a6b5c4d3e2f";
    const PLAIN: Stops = Stops {
        by_client: false,
        as_interrupted: false,
    };
    const STOPPED_BY: &str = "{\"type\":\"error\",\"seq\":3,\"code\":\"stopped\",\"message\":\"stopped: the stream was stopped on request\",\"retryable\":false,\"source\":\"proxy\",\"terminal\":true}";

    #[test]
    fn events_have_their_stream_and_the_first_one_its_request() {
        for (event, request, want) in [
            (
                "{\"type\":\"start\",\"seq\":1,\"run\":\"r1\",\"dialect\":\"langgraph\"}",
                Some("\"q1\""),
                "{\"type\":\"start\",\"seq\":1,\"request\":\"q1\",\"stream\":\"ID\",\"run\":\"r1\",\"dialect\":\"langgraph\"}",
            ),
            (
                "{\"type\":\"start\",\"seq\":1}",
                None,
                "{\"type\":\"start\",\"seq\":1,\"stream\":\"ID\"}",
            ),
            (
                "{\"type\":\"token\",\"seq\":10,\"text\":\"a\"}",
                None,
                "{\"stream\":\"ID\",\"type\":\"token\",\"seq\":10,\"text\":\"a\"}",
            ),
            (
                "{\"type\":\"error\",\"seq\":1,\"code\":\"truncated\"}",
                Some("7"),
                "{\"request\":7,\"stream\":\"ID\",\"type\":\"error\",\"seq\":1,\"code\":\"truncated\"}",
            ),
            ("{}", None, "{\"stream\":\"ID\"}"),
        ] {
            let want = want.replace("ID", ID);
            assert_eq!(of_stream(event, ID, request, PLAIN), want, "{event}");
        }
    }

    #[test]
    fn a_stop_says_who_and_can_have_a_type_of_its_own() {
        let said = |by_client, as_interrupted| {
            let stops = Stops {
                by_client,
                as_interrupted,
            };
            let text = of_stream(STOPPED_BY, ID, None, stops);
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let by_client = said(true, false);
        assert_eq!(by_client["type"], "error");
        assert_eq!(by_client["seq"], 3);
        assert_eq!(by_client["source"], "client");
        assert_eq!(by_client["message"], "Stopped by the client.");
        let by_operator = said(false, true);
        assert_eq!(by_operator["type"], "interrupted");
        assert_eq!(by_operator["source"], "proxy");
        assert_eq!(by_operator["terminal"], true);
    }

    #[test]
    fn numbers_are_found() {
        for (event, want) in [
            (
                "{\"type\":\"token\",\"seq\":17,\"text\":\"\\\"seq\\\":1\"}",
                Some(17),
            ),
            ("{\"type\":\"finish\",\"seq\":3}", Some(3)),
            ("{\"seq\":18446744073709551616}", None),
            ("{\"type\":\"x\"}", None),
        ] {
            assert_eq!(seq(event), want, "{event}");
        }
    }

    #[test]
    fn the_last_event_is_known() {
        assert!(is_last(STOPPED_BY));
        assert!(is_last(
            "{\"type\":\"finish\",\"seq\":12,\"reason\":\"stop\",\"scope\":\"run\"}"
        ));
        for event in [
            "{\"type\":\"finish\",\"seq\":12,\"reason\":\"stop\",\"scope\":\"step\"}",
            "{\"type\":\"error\",\"seq\":1,\"terminal\":false}",
            "{\"type\":\"token\",\"seq\":1,\"text\":\"\\\"scope\\\":\\\"run\\\"}\"}",
        ] {
            assert!(!is_last(event), "{event}");
        }
    }

    #[test]
    fn refusals_are_errors_that_end_nothing_else() {
        let refusal = Refusal {
            code: "not_found".to_owned(),
            message: "No such stream.".to_owned(),
            status: None,
            is_retryable: false,
            by_agent: false,
        };
        assert_eq!(
            refused(&refusal, None, Some("00")),
            "{\"type\":\"error\",\"stream\":\"00\",\"code\":\"not_found\",\"message\":\"No such stream.\",\"retryable\":false,\"source\":\"proxy\",\"terminal\":false}"
        );
        let refusal = Refusal {
            status: Some(403),
            by_agent: true,
            ..refusal
        };
        let text = refused(&refusal, Some("\"q\""), None);
        assert!(
            text.starts_with("{\"type\":\"error\",\"request\":\"q\",\"code\""),
            "{text}"
        );
        assert!(text.contains("\"status\":403,\"retryable\":false,\"source\":\"agent\""));
        assert!(rejected(TOO_MANY_RUNS, "m", None).contains("\"retryable\":true"));
    }

    #[test]
    fn pongs_carry_the_id_of_the_ping() {
        assert_eq!(pong(None), "{\"type\":\"pong\"}");
        assert_eq!(pong(Some("\"a\"")), "{\"type\":\"pong\",\"id\":\"a\"}");
    }
}
