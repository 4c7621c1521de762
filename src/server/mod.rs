//! Listeners, workers and their connections.

mod accept;
mod bell;
mod connection;
mod engine;
mod flow;
mod gate;
mod interim;
pub mod listener;
mod rewind;
mod service;
pub mod socket;
pub mod tls;
mod watched;
pub mod worker;
