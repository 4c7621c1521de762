//! `weir demo`: one scripted agent, two ways to it, and a page that measures both side by side: through a proxy that
//! buffers, and through Weir.

mod agent;
mod buffering;
mod page;
mod runs;
mod script;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::cli::Demo;
use crate::command::serve::{Source, serve};
use crate::config::{self, Address, Config, Overrides, Problems};
use crate::log;
use agent::Agent;
use page::Page;

/// Heartbeats and the limit of silence are short, so that nobody waits for what the page shows. On one path the page
/// loses its connection and comes back, so the run goes on without it; elsewhere a client that leaves ends the run. The
/// page counts events by their ids. The journal holds a whole flood.
const CONFIG: &str = "\
defaults:
  heartbeat: 1s
  deadlines: {idle: 8s}
  hide: {reasoning: drop}
  resume: {ids: all, max_events: 20000, max_bytes: 16MiB}
routes:
  - name: comes-back
    match: {path_prefix: /resumable}
    on_disconnect: {grace: 10s}
  - name: demo
";

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
    let (agent_listener, agent) = bind("127.0.0.1:0", "the demo agent")?;
    let beside = beside(&demo.listen);
    let buffering = demo.buffering.as_deref().unwrap_or(&beside);
    let (buffering_listener, buffering) = bind(buffering, "--buffering")?;
    let page = Page {
        admin: admin.unwrap_or_default(),
        buffering_port: buffering.port(),
    };
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
    in_thread("demo-agent", move || {
        agent::serve(agent_listener, Agent::new(page))
    })?;
    in_thread("demo-buffering", move || {
        buffering::serve(buffering_listener, agent)
    })?;
    serve(config, source, |addresses| {
        say(greeting(addresses, agent, buffering));
    })?;
    Ok(())
}

/// Returns a free port of the host of `listen`, so that whoever reaches the page reaches the buffering proxy, too.
fn beside(listen: &str) -> String {
    let ip = match config::read_listen(listen) {
        Ok(Address::Tcp(address)) => Some(address.ip()),
        Ok(Address::Unix(_)) | Err(_) => None,
    };
    // The page's policy cannot name an address of IPv6.
    let ip = ip.filter(|ip| ip.is_ipv4() || ip.is_unspecified());
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(ip, 0).to_string()
}

fn bind(address: &str, what: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let failed = |error: io::Error| {
        let message = format!("cannot listen on {address} ({what}): {error}");
        io::Error::new(error.kind(), message)
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Runs a server in a thread of its own, so that none slows another down.
fn in_thread<F: Future<Output = ()>>(
    name: &str,
    serve: impl FnOnce() -> F + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || runtime.block_on(serve()))?;
    Ok(())
}

fn greeting(addresses: &[String], agent: SocketAddr, buffering: SocketAddr) -> String {
    let proxy = addresses.first().map_or("", String::as_str);
    let admin = addresses
        .get(1)
        .map_or_else(|| "off".to_owned(), |admin| format!("http://{admin}/"));
    format!(
        "Weir demo is running.

  watch tokens arrive   http://{proxy}/
  live streams, metrics {admin}
  the agent behind it   http://{agent}
  a proxy that buffers  http://{buffering}

The page compares the two ways to the agent. The same in a terminal:

  curl -N http://{proxy}/v1/chat/completions -H 'content-type: application/json' -d '{{\"stream\":true}}'
  curl -N http://{buffering}/v1/chat/completions -H 'content-type: application/json' -d '{{\"stream\":true}}'

Stop with Ctrl-C.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnDisconnect;

    #[test]
    fn the_buffering_proxy_listens_where_the_page_does() {
        for (listen, found) in [
            ("127.0.0.1:8080", "127.0.0.1:0"),
            ("0.0.0.0:8080", "0.0.0.0:0"),
            ("[::]:8080", "[::]:0"),
            (":8080", "0.0.0.0:0"),
            ("[::1]:8080", "127.0.0.1:0"),
            ("unix:/run/weir.sock", "127.0.0.1:0"),
            ("8080", "127.0.0.1:0"),
        ] {
            assert_eq!(beside(listen), found);
        }
    }

    #[test]
    fn the_configuration_is_valid_and_warns_of_nothing() {
        let overrides = Overrides {
            upstream: Some("http://127.0.0.1:1".into()),
            ..Overrides::default()
        };
        let config = config::load(Some(("demo", CONFIG)), &overrides).unwrap();
        assert_eq!(config::warnings(&config), []);
        let left: Vec<_> = (config.routes.iter())
            .map(|route| route.policy.on_disconnect)
            .collect();
        let grace = OnDisconnect::Grace(Duration::from_secs(10));
        assert_eq!(left, [grace, OnDisconnect::Cancel]);
    }
}
