//! The properties that must hold for any input. Each fuzz target calls one `check` function.

pub mod bridge;
pub mod chunked;
pub mod config;
pub mod dialects;
pub mod dust;
pub mod encoding;
pub mod frames;
pub mod head;
pub mod identity;
pub mod joins;
pub mod messages;
pub mod queue;
pub mod recording;
pub mod replies;
pub mod resume;
pub mod scan;
pub mod strict;
pub mod websocket;
