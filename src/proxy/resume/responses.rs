//! Requests of OpenAI's SDKs for the rest of a response: `GET .../responses/{id}?stream=true&starting_after=N`.

use http::Method;

use super::answers::Problem;
use super::malformed::Malformed;
use super::member::MemberReader;
use super::percent::{Part, decoded, values};
use super::position::number;
use crate::hub::Hub;

/// The longest id. Those of OpenAI have some 60 characters.
const MAX_ID_BYTES: usize = 256;

/// A request for the rest of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retrieval {
    /// The id of the response.
    pub(super) id: String,
    /// The `sequence_number` of the last event that the client has, which is not a number of Weir; `None` for all of
    /// it. A malformed one matters only if the response is known here: otherwise the agent judges it.
    pub(super) after: Result<Option<u64>, Malformed>,
}

/// Returns what the request asks for, if it is one of these.
pub(super) fn asked_for(method: &Method, path: &str, query: Option<&str>) -> Option<Retrieval> {
    if method != Method::GET {
        return None;
    }
    let (folder, id) = path.rsplit_once('/')?;
    if folder.rsplit_once('/')?.1 != "responses" {
        return None;
    }
    let id = decoded(id, Part::Path, MAX_ID_BYTES).filter(|id| !id.is_empty())?;
    let mut wishes = values(query?, "stream");
    if wishes.next() != Some("true") || wishes.next().is_some() {
        return None;
    }
    Some(Retrieval {
        id,
        after: number(query, "starting_after"),
    })
}

/// Reads the id of the response from the block of an event: `response.created` says it first.
pub(super) fn id_in(block: &[u8]) -> Option<String> {
    let mut reader = MemberReader::new("response.id");
    for line in block.split(|byte| *byte == b'\n') {
        if let Some(data) = line.strip_prefix(b"data:") {
            reader.feed(data);
        }
    }
    reader.found().map(str::to_owned)
}

/// Returns the position in the journal after the event with this `sequence_number`.
///
/// # Errors
/// If the events behind it are not kept any more, or it is beyond the last event of a stream that runs.
pub(super) fn position(hub: &Hub, after: u64) -> Result<u64, Problem> {
    let extent = hub.extent();
    let first = extent.first;
    let (mut found, mut newest) = (None, None);
    let mut oldest = None;
    hub.look(|seq, block| {
        let Some(number) = sequence_number(block) else {
            return true;
        };
        oldest.get_or_insert(number);
        newest = Some(number);
        if number <= after {
            found = Some(seq);
        }
        number < after
    });
    if let Some(last) = newest
        && last < after
        && extent.closed_at.is_none()
    {
        return Err(Problem::Ahead { last });
    }
    match (found, oldest) {
        (Some(seq), _) => Ok(seq),
        // The journal begins with the next one, or with the first of all.
        (None, Some(oldest)) if first == 1 || oldest == after + 1 => Ok(first - 1),
        (None, None) if first == 1 => Ok(0),
        (None, _) => Err(Problem::Evicted { first }),
    }
}

/// Returns the `sequence_number` of an event.
pub(super) fn sequence_number(block: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"sequence_number\":";
    let at = memchr::memmem::rfind(block, KEY)?;
    let rest = block.get(at + KEY.len()..)?.trim_ascii_start();
    let end = rest.iter().position(|byte| !byte.is_ascii_digit());
    let digits = rest.get(..end.unwrap_or(rest.len()))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_response_is_asked_for() {
        for (path, query, id, after) in [
            ("/v1/responses/resp_1", "stream=true", "resp_1", None),
            ("/responses/a%5F1", "stream=true", "a_1", None),
            (
                "/x/y/responses/r",
                "include=a&starting_after=42&stream=true",
                "r",
                Some(42),
            ),
            (
                "/responses/responses/r",
                "stream=true&starting_after=0",
                "r",
                Some(0),
            ),
        ] {
            let got = asked_for(&Method::GET, path, Some(query));
            let id = id.to_owned();
            let after = Ok(after);
            assert_eq!(got, Some(Retrieval { id, after }), "{path}?{query}");
            assert_eq!(asked_for(&Method::POST, path, Some(query)), None);
        }
    }

    #[test]
    fn other_requests_are_not_ours() {
        let long = format!("/responses/{}", "x".repeat(MAX_ID_BYTES + 1));
        for (path, query) in [
            ("/v1/responses/r", None),
            ("/v1/responses/r", Some("")),
            ("/v1/responses/r", Some("stream=false")),
            ("/v1/responses/r", Some("stream")),
            ("/v1/responses/r", Some("stream=true&stream=false")),
            ("/v1/responses/r", Some("streams=true&starting_after=1")),
            ("/v1/responses/", Some("stream=true")),
            ("/v1/responses", Some("stream=true")),
            ("responses/r", Some("stream=true")),
            ("/v1/responses/r/input_items", Some("stream=true")),
            ("/v1/xresponses/r", Some("stream=true")),
            ("/v1/responses/%ff", Some("stream=true")),
            (long.as_str(), Some("stream=true")),
            ("*", Some("stream=true")),
        ] {
            assert_eq!(
                asked_for(&Method::GET, path, query),
                None,
                "{path} {query:?}"
            );
        }
    }

    #[test]
    fn a_malformed_position_is_kept_for_who_knows_the_response() {
        for after in ["", "-1", "1&starting_after=1", "x"] {
            let query = format!("stream=true&starting_after={after}");
            let got = asked_for(&Method::GET, "/responses/r", Some(&query)).unwrap();
            let malformed = got.after.unwrap_err();
            assert_eq!(malformed.what, "starting_after", "{after}");
        }
    }
}
