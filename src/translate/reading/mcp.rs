//! MCP Streamable HTTP: each event is one JSON-RPC message.

use super::Reading;
use crate::event::Event;
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{at, elements, escaped, id, is_object, is_true, member, string, word};
use crate::wire::{Frame, json};

/// The state that is kept between messages: none.
#[derive(Debug, Default)]
pub(super) struct Mcp;

impl Reading for Mcp {
    fn read(&mut self, frame: &Frame<'_>, _: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if !json::is_whole(data) {
            return;
        }
        // Older versions may send several messages at once.
        let batch = elements(data);
        if batch.is_empty() {
            return message(data, parts);
        }
        for one in batch {
            message(one, parts);
        }
    }
}

fn message(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if let Some(error) = member(data, "error") {
        let code = at(error, &["code"]).unwrap_or_default();
        return parts(Part::Error {
            // A JSON-RPC code is negative.
            code: string(code).map_or_else(|| escaped(code), Into::into),
            message: word(error, &["message"]).into(),
        });
    }
    if let Some(result) = member(data, "result") {
        return answer(data, result, parts);
    }
    let params = member(data, "params").unwrap_or_default();
    let detail: &[u8] = if is_object(params) { params } else { b"" };
    match word(data, &["method"]) {
        b"" => parts(Part::Raw {
            name: b"".into(),
            data: data.into(),
        }),
        b"notifications/progress" => parts(Part::Status {
            name: b"progress".into(),
            text: word(params, &["message"]).into(),
            detail: detail.into(),
        }),
        b"notifications/message" => parts(Part::Status {
            name: b"message".into(),
            text: word(params, &["data"]).into(),
            detail: detail.into(),
        }),
        // A request to the client, which waits for its answer.
        method if member(data, "id").is_some() => parts(Part::Interrupt {
            id: id(data, &["id"]).into(),
            reason: method.into(),
            payload: if params.is_empty() { data } else { params }.into(),
        }),
        method => parts(Part::Raw {
            name: method.into(),
            data: data.into(),
        }),
    }
}

/// Reads the answer to the request, which ends the stream.
fn answer(data: &[u8], result: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let waits = word(result, &["resultType"]) == b"input_required"
        || member(result, "inputRequests").is_some();
    if waits {
        parts(Part::Interrupt {
            id: id(data, &["id"]).into(),
            reason: b"input_required".into(),
            payload: result.into(),
        });
    } else if let Some(content) = member(result, "content") {
        // The answer of a tool. Its text is what people read.
        for block in elements(content) {
            let text = word(block, &["text"]);
            if !text.is_empty() && word(block, &["type"]) == b"text" {
                parts(Part::Text {
                    msg: b"".into(),
                    text: text.into(),
                });
            }
        }
        parts(Part::ToolResult {
            id: id(data, &["id"]).into(),
            name: b"".into(),
            ok: !is_true(result, &["isError"]),
            content: result.into(),
            partial: false,
        });
    } else {
        parts(Part::Raw {
            name: b"result".into(),
            data: data.into(),
        });
    }
    parts(Part::Finish {
        reason: if waits {
            Reason::Interrupt
        } else {
            Reason::Stop
        },
        scope: Scope::Run,
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let bytes = fixture("mcp", name);
        parts_of(&mut Mcp, Dialect::Mcp, Framing::Sse, &bytes)
    }

    #[test]
    fn the_answer_ends_the_stream() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), "Rain");
        assert!(parts.contains(&Part::ToolResult {
            id: b"1".into(),
            name: b"".into(),
            ok: true,
            content: br#"{"content":[{"type":"text","text":"Rain"}]}"#.into(),
            partial: false,
        }));
        assert_eq!(
            parts.last(),
            Some(&Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Run,
            })
        );
    }

    #[test]
    fn a_request_to_the_client_is_an_interrupt() {
        let parts = read("resumable.sse");
        assert_eq!(
            parts.last(),
            Some(&Part::Interrupt {
                id: b"q".into(),
                reason: b"elicitation/create".into(),
                payload: b"{}".into(),
            })
        );
        assert!(matches!(read("error.sse").last(), Some(Part::Error { .. })));
    }
}
