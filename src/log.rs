//! Log lines: to stderr, as JSON or for people.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Installs the log for the life of the process.
pub fn install(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match log.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Else a full disk or a closed pipe would be told on stderr, too, and that panics.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_writer(stderr);
    let installed = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        builder.try_init()
    };
    // A second install in one process (tests) keeps the first.
    drop(installed);
}
