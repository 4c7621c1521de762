//! Turns a whole answer to a request for a stream into a stream, where the route says so.

use http::{HeaderValue, header, response};
use tokio::time::timeout_at;

use super::admitted::Admitted;
use super::reject::Rejection;
use crate::dialect::Choice;
use crate::encode::Encoder;
use crate::unstream::{Synthesized, synthesize};
use crate::upstream::{self, Error};
use crate::wire::Flow;
use crate::wire::encoding::{self, Coding};

/// How many times as long as its answer a stream may be. It takes no more memory than an event may.
const MOST_GROWTH: usize = 16;

/// Returns the stream that a whole answer is written as, and corrects its head. `None` if it passes as it is.
///
/// # Errors
/// If the answer does not arrive in time.
pub(super) async fn unstream(
    admitted: &Admitted,
    head: &mut response::Parts,
    body: &mut upstream::Body,
) -> Result<Option<Synthesized>, Rejection> {
    let policy = &admitted.context.route.policy;
    let applies = policy.reply.unstreams
        && head.status.is_success()
        && is_json(head)
        && !admitted.is_head()
        // The client gets one answer in any case.
        && (admitted.target.is_some() || !admitted.aggregates)
        && asks_for_stream(admitted);
    let Some(coding) = Coding::of(&head.headers).filter(|_| applies) else {
        return Ok(None);
    };
    let limit = policy.deadlines.total;
    // One byte more shows that an answer is too long.
    let wanted = policy.max_event_bytes / MOST_GROWTH + 1;
    let Ok(bytes) = timeout_at(admitted.context.started + limit, body.peek(wanted)).await else {
        return Err(Rejection::from(&Error::TotalTimeout { limit }));
    };
    let Some(whole) = decoded(coding, bytes, wanted).filter(|whole| whole.len() < wanted) else {
        return Ok(None);
    };
    let Some(stream) = synthesize(admitted.expected(), &whole) else {
        return Ok(None);
    };
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::ETAG,
    ] {
        head.headers.remove(name);
    }
    let kind = Encoder::identity(Some(stream.dialect), stream.framing).content_type();
    let kind = HeaderValue::from_static(kind);
    head.headers.insert(header::CONTENT_TYPE, kind);
    Ok(Some(stream))
}

/// Reports whether the request itself asks for a stream. That a route sets the dialect does not count: not each answer
/// of its agent is a stream.
fn asks_for_stream(admitted: &Admitted) -> bool {
    admitted.accepts_stream
        || match admitted.context.route.policy.dialect {
            Choice::Auto => admitted.awaits_stream(),
            Choice::Fixed(_) => admitted.members().asks_for_stream() == Some(true),
        }
}

fn is_json(head: &response::Parts) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        })
}

/// Returns the decoded body, as far as `wanted` bytes; `None` if it is corrupt.
fn decoded(coding: Coding, bytes: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let Some(mut decoder) = encoding::Decoder::new(coding) else {
        return Some(bytes.to_vec());
    };
    let mut whole = Vec::new();
    let read = decoder.feed(bytes, |piece| {
        whole.extend_from_slice(piece);
        Ok::<_, encoding::Error>(Flow::while_true(whole.len() < wanted))
    });
    read.ok().map(|()| whole)
}
