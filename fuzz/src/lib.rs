//! What must hold for any bytes. Each target is one of these functions.

pub mod chunked;
pub mod config;
pub mod dialects;
pub mod encoding;
pub mod frames;
pub mod strict;
pub mod head;
pub mod identity;
pub mod queue;
pub mod scan;
