//! Listeners, workers and their connections.

mod accept;
mod connection;
mod interim;
pub mod listener;
pub mod socket;
pub mod tls;
mod watched;
pub mod worker;
