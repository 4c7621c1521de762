//! The ways back into a stream, over HTTP.
//!
//! | file | what |
//! |---|---|
//! | `endpoint` | `/.weir/streams/{id}`: read again, show, stop |
//! | `ways` | clients that come back to the agent's own paths by themselves |
//! | `begin` | what is remembered of a request for those who come back |
//! | `attach` | the response of a client that has come back |
//! | `far` | streams of other instances |
//! | `position` | where in the stream it goes on |
//! | `caller` | whether it is the one that the stream belongs to |
//! | `names` | digests of what else than an id a stream is asked for by |
//! | `chats`, `responses`, `idempotency` | such ways, one each |
//! | `client` | how it reads an answer |
//! | `answers` | what a client gets that cannot go on |

mod answers;
pub mod asked;
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
pub(super) mod ways;

pub(super) use begin::Begin;
pub(super) use own_path::path;
