//! Weir: a streaming reverse proxy for agents.

// layer 0: words
pub mod event;

// layer 1: pure
pub mod dialect;
pub mod stream;
pub mod wire;

// layer 2: parts
pub mod config;
pub mod metrics;
pub mod queue;

// layer 3: engines
pub mod upstream;

// layer 4: edges
pub mod admin;
pub mod app;
pub mod drain;
pub mod proxy;
pub mod reply;
pub mod route;
pub mod server;

// layer 5: program
pub mod cli;
pub mod command;
pub mod demo;
pub mod log;
