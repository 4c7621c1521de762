//! Listeners, workers and their connections.

mod accept;
mod bell;
mod connection;
mod engine;
mod flow;
mod interim;
pub mod listener;
mod service;
pub mod socket;
pub mod tls;
mod watched;
pub mod worker;
