//! Listeners, workers and their connections.

pub mod accept;
pub mod connection;
pub mod socket;
pub mod tasks;
pub mod tls;
