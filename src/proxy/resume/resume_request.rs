//! What the head of a request asks for, for tests that try any head (`fuzz/src/resume.rs`).

use http::{HeaderMap, Method};

use super::idempotency::IdempotencyKey;
use super::malformed::Malformed;
use super::position::Position;
use super::{own_path, responses};
use crate::session::stream_id::StreamId;

/// What a head asks for. What is malformed is its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The stream that the path names; `None` if the path is not below `/.weir/streams/`.
    pub stream: Option<Result<StreamId, String>>,
    /// Where in the stream the client wants to go on.
    pub place: Result<Place, String>,
    /// The response of the Responses API, and the number after which it is continued.
    pub response: Option<(String, Result<Option<u64>, String>)>,
    /// The idempotency key.
    pub key: Option<Result<String, String>>,
}

/// Where a client wants to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the first event.
    Start,
    /// After the event with this number.
    After {
        /// The stream, if it was named.
        stream: Option<StreamId>,
        /// The number.
        seq: u64,
    },
    /// After the event to which the upstream gave this id.
    Foreign(String),
}

/// Reads a head as the ways back into a stream do.
pub fn read(
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> ResumeRequest {
    let told = |malformed: Malformed| malformed.to_string();
    let place = Position::of(headers, query).map(|position| match position {
        Position::Start => Place::Start,
        Position::After { stream, seq } => Place::After { stream, seq },
        Position::Foreign(id) => Place::Foreign(id),
    });
    let response = responses::asked_for(method, path, query);
    ResumeRequest {
        stream: own_path::stream(path).map(|id| id.map_err(told)),
        place: place.map_err(told),
        response: response.map(|one| (one.id, one.after.map_err(told))),
        key: IdempotencyKey::of(headers)
            .transpose()
            .map(|key| key.map(|key| key.as_str().to_owned()).map_err(told)),
    }
}
