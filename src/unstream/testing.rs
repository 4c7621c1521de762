//! Shared by the tests: reads what was written.

use super::synthesize;
use crate::dialect::Dialect;
use crate::wire::Framing;

/// Returns the names and the data of an SSE stream that is made of a body.
pub(super) fn named(expected: Option<Dialect>, body: &str) -> Vec<(String, String)> {
    let stream = synthesize(expected, body.as_bytes()).unwrap();
    assert_eq!(stream.framing, Framing::Sse);
    let text = String::from_utf8(stream.body).unwrap();
    let blocks = text.strip_suffix("\n\n").unwrap().split("\n\n");
    blocks
        .map(|block| {
            let (name, data) = match block.strip_prefix("event: ") {
                Some(rest) => rest.split_once('\n').unwrap(),
                None => ("", block),
            };
            let data = data.strip_prefix("data: ").unwrap();
            (name.to_owned(), data.to_owned())
        })
        .collect()
}

/// Returns the data of an SSE stream that is made of a body.
pub(super) fn events(expected: Option<Dialect>, body: &str) -> Vec<String> {
    named(expected, body)
        .into_iter()
        .map(|(_, data)| data)
        .collect()
}
