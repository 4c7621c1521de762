//! What the client gets: bodies, and the head of a stream.

pub mod body;
pub mod head;
pub mod stream;
