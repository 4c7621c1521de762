//! `weir demo`: runs a scripted agent, the proxy in front of it, and a page that shows the tokens as they arrive.

mod agent;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::Demo;
use crate::command::serve::{Source, serve};
use crate::config::{self, Config, Overrides, Problems};
use crate::log;

/// The page loses its connection on purpose, and comes back. It counts the events by their ids.
const CONFIG: &str = "defaults: {resume: {ids: all}, on_disconnect: {grace: 10s}}\n";

/// The reason why the demo did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag is invalid.
    #[error("{0}")]
    Flags(#[from] Problems),
    /// A listener could not be bound or a thread not be started.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the demo until it is interrupted. Calls `say` with the greeting for the user once everything is ready.
///
/// # Errors
/// Returns an error if a flag is invalid or an address is already in use.
pub fn run(demo: &Demo, say: impl FnOnce(String)) -> Result<(), Error> {
    let is_known = demo.admin != "off" && !demo.admin.ends_with(":0");
    let admin = is_known.then(|| format!("http://{}/", demo.admin));
    let agent = agent::start(&admin.unwrap_or_default())?;
    let overrides = Overrides {
        listen: Some(demo.listen.clone()),
        admin: Some(demo.admin.clone()),
        upstream: Some(format!("http://{agent}")),
        log_level: Some("warn".into()),
        ..Overrides::default()
    };
    // What a reload would change cannot be reached: nobody writes a file for the demo.
    let mut config: Config = config::load(Some(("demo", CONFIG)), &overrides)?;
    let source = Source {
        file: None,
        overrides,
    };
    // No load balancer has to notice the shutdown, so there is no drain delay.
    config.drain.delay = Duration::ZERO;
    let _flush = log::install(&config.log)?;
    serve(config, source, |addresses| say(greeting(addresses, agent)))?;
    Ok(())
}

fn greeting(addresses: &[String], agent: SocketAddr) -> String {
    let proxy = addresses.first().map_or("", String::as_str);
    let admin = addresses
        .get(1)
        .map_or_else(|| "off".to_owned(), |admin| format!("http://{admin}/"));
    format!(
        "Weir demo is running.

  watch tokens arrive   http://{proxy}/
  live streams, metrics {admin}
  the agent behind it   http://{agent}

Try it in a terminal:

  curl -N http://{proxy}/v1/chat/completions -H 'content-type: application/json' -d '{{\"stream\":true}}'

Stop with Ctrl-C.
"
    )
}
