//! Responses as the client receives them: bodies, and the head of a stream.

pub mod body;
pub mod head;
pub mod stream;
