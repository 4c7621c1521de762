//! The first message of a conversation: what the client asked.

use serde::de::IgnoredAny;

use crate::config::Opening;
use crate::upstream::error::Error;
use crate::upstream::request_body::RequestBody;

/// Reads the request's body, and returns the first message made of it. Without a body and without `open` there is none:
/// the agent speaks first, or knows from the path what is asked.
pub(in crate::upstream) async fn message(
    body: &mut RequestBody,
    open: Option<&Opening>,
) -> Result<Option<String>, Error> {
    let whole = body.whole().await?;
    first(&whole, open).map_err(Error::RequestUnreadable)
}

fn first(body: &[u8], open: Option<&Opening>) -> Result<Option<String>, &'static str> {
    let text = std::str::from_utf8(body).map_err(
        |_| "the request body is not UTF-8 text, which the messages of this agent (WebSocket) are",
    )?;
    let Some(open) = open else {
        return Ok((!text.is_empty()).then(|| text.to_owned()));
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(Some(open.around("null")));
    }
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        Ok(Some(open.around(text)))
    } else {
        Err(
            "the request body is not JSON, which the first message of this agent (websocket.open) is made of",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_first_message_or_a_part_of_it() {
        let open = Opening::parse(r#"{"type":"message","content":"$body"}"#).unwrap();
        for (body, plain, wrapped) in [
            (
                &br#" {"q":1} "#[..],
                Ok(Some(r#" {"q":1} "#)),
                Ok(Some(r#"{"type":"message","content":{"q":1}}"#)),
            ),
            (
                b"",
                Ok(None),
                Ok(Some(r#"{"type":"message","content":null}"#)),
            ),
            (b"hello", Ok(Some("hello")), Err(())),
            (b"{\"q\":", Ok(Some("{\"q\":")), Err(())),
            (b"\xff", Err(()), Err(())),
        ] {
            let made = |open| first(body, open).map_err(|_| ());
            assert_eq!(made(None), plain.map(|text| text.map(str::to_owned)));
            assert_eq!(
                made(Some(&open)),
                wrapped.map(|text| text.map(str::to_owned))
            );
        }
    }
}
