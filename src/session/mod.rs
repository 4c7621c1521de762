//! The run of a live stream: what it is to the rest of the process, from its first read to its one line in the log.
//!
//! A request enters this room once, when its response turned out to be a stream: [`start`] joins the upstream's body
//! (`source`), the pipeline, the queue and the pump to one future (`task`), registers the stream (`registry`), and
//! returns what the client's connection needs to drain it. From then on the connection polls the task; everything that is
//! counted or logged for the stream is in `account`.
//!
//! | file | what |
//! |---|---|
//! | `context` | the facts of a request that everybody needs: who, what, which route, since when |
//! | `identity` | `X-Request-Id` and the W3C trace context |
//! | `registry` | the live streams: find one by id, its viewers, stop it |
//! | `source` | upstream bodies as sources of a pump |
//! | `task` | the future that runs a stream and survives a panic of it |
//! | `account` | metrics, and the one log line |

pub(crate) mod account;
pub mod context;
pub mod identity;
pub mod registry;
pub(crate) mod source;
mod start;
pub mod stream_id;
mod task;

pub use context::RequestContext;
pub use start::{Start, Started, start};
