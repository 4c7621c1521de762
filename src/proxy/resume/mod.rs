//! Answers clients that come back to a stream over HTTP.
//!
//! A request is recognised (`endpoint`, `ways`), its client is checked (`caller`), and its position is read
//! (`position`). `attach` then answers with the stream, and `answers` if that is not possible.
//!
//! | file | what |
//! |---|---|
//! | `endpoint` | `/.weir/streams/{id}`: read again, show, stop |
//! | `ways` | clients that come back to the agent's own paths by themselves |
//! | `begin` | what is remembered of a request for those who come back |
//! | `attach` | the response of a client that has come back |
//! | `far` | streams of other instances |
//! | `position` | where in the stream the client goes on |
//! | `caller` | whether the client is the one that the stream belongs to |
//! | `names` | digests of whatever names a stream besides its id |
//! | `chats`, `responses`, `idempotency` | the ways of single clients: `useChat`, OpenAI, idempotency keys |
//! | `client` | in which form the client reads an answer |
//! | `answers` | the answers to clients whose stream cannot be continued |
//! | `malformed` | errors in the parts of a request that name the stream or the position |
//! | `member`, `own_path`, `percent` | parsing: a member of a JSON body, `/.weir/streams/{id}`, percent-encoding |
//! | `resume_request` | reads a whole head as the ways back do, for fuzzing |

mod answers;
mod attach;
mod begin;
mod caller;
mod chats;
mod client;
pub(super) mod endpoint;
mod far;
mod idempotency;
mod malformed;
mod member;
mod names;
mod own_path;
mod percent;
mod position;
mod responses;
pub mod resume_request;
pub(super) mod ways;

use http::{StatusCode, request};

use super::own_answer::Answer;
use crate::app::App;

pub(super) use begin::Begin;
pub(super) use own_path::{is_anothers, path};

/// Returns the answer that makes an `EventSource` come back, if a rejection with this status passes, and the client is
/// one that comes back to a stream: any other status would end it for good.
pub(super) fn come_back(app: &App, parts: &request::Parts, status: StatusCode) -> Option<Answer> {
    let returns = parts.headers.contains_key(position::LAST_EVENT_ID)
        || own_path::stream(parts.uri.path()).is_some();
    let resumes = |route: &std::sync::Arc<crate::config::Route>| route.policy.resume.is_some();
    let passes = status == StatusCode::SERVICE_UNAVAILABLE
        && returns
        && client::Client::of(&parts.method, &parts.headers) == client::Client::EventSource
        && app.loaded().config.routes.iter().any(resumes);
    passes.then(|| answers::refuse(&answers::Problem::StoreDown, client::Client::EventSource))
}
