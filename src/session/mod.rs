//! The life of a stream in the process, from its start to its log line.
//!
//! When a response turns out to be a stream, the proxy registers it (`registry`) and calls [`start`]. This connects the
//! upstream's body (`source`), the pipeline, the queue and the pump to one future (`task`), and returns what the
//! client's connection needs to drain the stream. From then on the connection polls the task. Everything that is
//! counted or logged for the stream is in `accounting`.
//!
//! | file | what |
//! |---|---|
//! | `asked_model` | the model that a request asks for |
//! | `context` | the data of a request that all parts need: its client, its route, its start |
//! | `detached` | calls that continue without their client, and how many there may be |
//! | `figures` | what the pump of a running stream publishes for the list of live streams |
//! | `identity` | `X-Request-Id` and the W3C trace context |
//! | `resumable` | the streams that clients can come back to, running or over |
//! | `viewer` | the task of each client that follows such a stream |
//! | `stored` | a stream that is kept in the store, too |
//! | `follow` | a client that comes back to a stream of this instance |
//! | `elsewhere` | a client that follows a stream of another instance |
//! | `recent` | the last streams that have ended, and the times and reasons of the last minutes |
//! | `registry` | the live streams: finds a stream by id, knows its viewers, stops it |
//! | `source` | upstream bodies as sources of a pump |
//! | `start` | builds a stream from its parts |
//! | `stream_id` | the ids of streams |
//! | `traffic` | what has passed through a tunnel |
//! | `task` | the future that runs a stream, and contains its panics |
//! | `request_line` | the log line of a request without a stream |
//! | `records` | the record of a stream for whoever keeps what was said |
//! | `accounting` | the metrics and the log line of a stream |

pub(crate) mod accounting;
mod asked_model;
pub mod context;
pub mod detached;
pub mod elsewhere;
pub mod figures;
mod follow;
pub mod identity;
pub mod recent;
mod records;
pub mod registry;
pub(crate) mod request_line;
pub mod resumable;
pub(crate) mod source;
mod start;
pub mod stored;
pub mod stream_id;
mod task;
pub mod traffic;
mod viewer;

pub use asked_model::AskedModel;
pub use context::RequestContext;
pub use follow::{Follow, follow};
pub use records::Recording;
pub use start::{Merging, Resuming, Start, Started, start};
pub(crate) use start::{lengths, unix_time};
pub use viewer::Returned;
