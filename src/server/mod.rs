//! Listeners, workers and their connections.

mod accept;
mod connection;
mod interim;
pub mod link;
pub mod listener;
pub mod socket;
pub mod tasks;
pub mod tls;
mod watched;
pub mod worker;
