//! Listeners, workers and their connections.

mod accept;
mod connection;
mod departures;
mod engine;
mod first_bytes;
pub mod holder;
mod interim;
pub mod listener;
mod over_http2;
mod refusal;
mod service;
pub mod socket;
mod stream_writer;
mod tracked_io;
mod wake;
mod worker;
pub mod workers;
