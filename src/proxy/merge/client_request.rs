//! What the client of several agents asks for: its request, read to the end.

use bytes::Bytes;
use http::{Request, request};

use crate::proxy::admitted::Admitted;
use crate::proxy::reject::Rejection;
use crate::proxy::resume::Begin;
use crate::proxy::rewrite::Rewriting;
use crate::translate::Target;
use crate::upstream::{Error, RequestBody};
use crate::wire::json::Cursor;

/// The longest name of a run or a thread that is taken from a client, in bytes of JSON.
const MAX_NAME_BYTES: usize = 1024;

/// What a client has asked for.
pub(super) struct ClientRequest {
    pub(super) parts: request::Parts,
    pub(super) body: Bytes,
    /// What is needed to come back to the stream; `None` if nobody can.
    pub(super) resuming: Option<Box<Begin>>,
    /// How the client names the run and its conversation; empty if it does not.
    pub(super) run: String,
    pub(super) thread: String,
}

/// Reads the whole request, as the agents get it without their own changes.
pub(super) async fn read(
    admitted: &Admitted,
    resuming: Option<Box<Begin>>,
    request: Request<RequestBody>,
) -> Result<ClientRequest, Rejection> {
    let (mut parts, mut body) = request.into_parts();
    if body.is_too_large() {
        return Err(Rejection::from(&Error::RequestTooLarge));
    }
    let rewriting = Rewriting::of(admitted, &parts);
    let mut names = resuming.as_deref().and_then(Begin::listener);
    let is_ag_ui = admitted.target == Some(Target::AgUi);
    let (mut run, mut thread) = (String::new(), String::new());
    rewriting
        .rewrite(&mut parts, &mut body, |sent| {
            if let Some(listener) = &mut names {
                listener(sent);
            }
            if is_ag_ui {
                (run, thread) = named(sent);
            }
        })
        .await?;
    let body = body.take_rewritten();
    admitted.hear(&body);
    Ok(ClientRequest {
        parts,
        body,
        resuming,
        run,
        thread,
    })
}

/// Returns how an AG-UI client names the run and its thread. Names that are too long are none: each event repeats them.
fn named(body: &[u8]) -> (String, String) {
    let (mut run, mut thread) = (String::new(), String::new());
    let mut cursor = Cursor::new(body);
    if cursor.enter_object().is_none() {
        return (run, thread);
    }
    while let Some(Some(key)) = cursor.next_key() {
        let Some(value) = cursor.skip().and_then(|value| body.get(value)) else {
            break;
        };
        let known = match key {
            b"runId" => &mut run,
            b"threadId" => &mut thread,
            _ => continue,
        };
        if value.len() <= MAX_NAME_BYTES {
            *known = serde_json::from_slice(value).unwrap_or_default();
        }
    }
    (run, thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ag_ui_client_names_its_run() {
        let body = br#"{"threadId":"t1","runId":"r1","messages":[]}"#;
        assert_eq!(named(body), ("r1".to_owned(), "t1".to_owned()));
        for other in [&b""[..], b"[1]", b"{\"runId\":7}", b"{"] {
            assert_eq!(named(other), (String::new(), String::new()));
        }
        let long = format!(
            r#"{{"messages":[{{"runId":"x"}}],"threadId":"t\u0022","runId":"{}"}}"#,
            "r".repeat(MAX_NAME_BYTES)
        );
        assert_eq!(named(long.as_bytes()), (String::new(), "t\"".to_owned()));
    }
}
