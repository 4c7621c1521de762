//! Workers: one thread, one runtime, one listener each; a stream lives and dies on its worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::tls::Acceptor;
use super::{connection, socket, tasks};
use crate::app::App;
use crate::config::{Address, Listen};
use crate::proxy::Peer;
use crate::upstream::request::Origin;

/// Pause after a failed accept: descriptors may come back, and spinning would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener with one socket for each worker.
#[derive(Debug)]
pub struct Bound {
    /// Where it listens; port 0 resolved.
    pub address: String,
    sockets: Sockets,
    tls: Option<Arc<Acceptor>>,
}

#[derive(Debug)]
enum Sockets {
    Tcp(Vec<std::net::TcpListener>),
    Unix(std::os::unix::net::UnixListener),
}

/// Binds one listener.
///
/// # Errors
/// When the address cannot be bound or a certificate cannot be read; the message names the address.
pub fn bind(listen: &Listen, workers: usize) -> io::Result<Bound> {
    let tls = listen
        .tls
        .as_ref()
        .map(Acceptor::new)
        .transpose()?
        .map(Arc::new);
    match &listen.address {
        Address::Tcp(address) => {
            let sockets = socket::tcp(*address, workers).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?;
            let address = sockets
                .first()
                .map_or(Ok(*address), std::net::TcpListener::local_addr)?;
            Ok(Bound {
                address: address.to_string(),
                sockets: Sockets::Tcp(sockets),
                tls,
            })
        }
        Address::Unix(path) => {
            let shown = path.display();
            let socket = socket::unix(path).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot listen on unix:{shown}: {error}"),
                )
            })?;
            Ok(Bound {
                address: format!("unix:{shown}"),
                sockets: Sockets::Unix(socket),
                tls,
            })
        }
    }
}

/// Starts the workers. They run until `stop` says so.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(
    app: &Arc<App>,
    bound: Vec<Bound>,
    workers: usize,
    stop: &watch::Receiver<bool>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut shares: Vec<Vec<(Share, Option<Arc<Acceptor>>)>> =
        (0..workers.max(1)).map(|_| Vec::new()).collect();
    for listener in bound {
        match listener.sockets {
            Sockets::Tcp(sockets) => {
                for (share, socket) in shares.iter_mut().zip(sockets) {
                    share.push((Share::Tcp(socket), listener.tls.clone()));
                }
            }
            Sockets::Unix(socket) => {
                if let Some(first) = shares.first_mut() {
                    first.push((Share::Unix(socket), listener.tls));
                }
            }
        }
    }
    let start = |(worker, shares): (usize, Vec<_>)| {
        let (app, stop) = (Arc::clone(app), stop.clone());
        let run = move || work(&app, worker, shares, stop);
        std::thread::Builder::new()
            .name(format!("weir-{worker}"))
            .spawn(run)
    };
    shares.into_iter().enumerate().map(start).collect()
}

/// One worker's part of a listener.
#[derive(Debug)]
enum Share {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

fn work(
    app: &Arc<App>,
    worker: usize,
    shares: Vec<(Share, Option<Arc<Acceptor>>)>,
    mut stop: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, worker, "a worker cannot start");
            return;
        }
    };
    runtime.block_on(async {
        for (share, tls) in shares {
            let app = Arc::clone(app);
            match share {
                Share::Tcp(socket) => match TcpListener::from_std(socket) {
                    Ok(listener) => drop(tasks::spawn(accept_tcp(app, worker, listener, tls))),
                    Err(error) => tracing::error!(%error, worker, "a listener cannot be used"),
                },
                Share::Unix(socket) => match UnixListener::from_std(socket) {
                    Ok(listener) => drop(tasks::spawn(accept_unix(app, worker, listener, tls))),
                    Err(error) => tracing::error!(%error, worker, "a listener cannot be used"),
                },
            }
        }
        let mut sweep = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = sweep.tick() => app.loaded().prune(worker),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
    });
    // Ends what is left without waiting for name look-ups.
    runtime.shutdown_timeout(Duration::from_millis(100));
}

async fn accept_tcp(
    app: Arc<App>,
    worker: usize,
    listener: TcpListener,
    tls: Option<Arc<Acceptor>>,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(open) = Open::enter(&app) else {
            continue;
        };
        let stalls = app
            .loaded()
            .config
            .routes
            .iter()
            .map(|route| route.policy.deadlines.client_stall)
            .max();
        socket::tune(
            &stream,
            stalls.unwrap_or(Duration::from_secs(30)) + Duration::from_secs(5),
        );
        let peer = peer(worker, Some(from), tls.is_some());
        let (app, tls) = (Arc::clone(&app), tls.clone());
        tasks::spawn(async move {
            connection::serve(app, peer, stream, tls).await;
            drop(open);
        });
    }
}

async fn accept_unix(
    app: Arc<App>,
    worker: usize,
    listener: UnixListener,
    tls: Option<Arc<Acceptor>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(open) = Open::enter(&app) else {
            continue;
        };
        let peer = peer(worker, None, tls.is_some());
        let (app, tls) = (Arc::clone(&app), tls.clone());
        tasks::spawn(async move {
            connection::serve(app, peer, stream, tls).await;
            drop(open);
        });
    }
}

fn peer(worker: usize, from: Option<SocketAddr>, secure: bool) -> Peer {
    let scheme = if secure { "https" } else { "http" };
    Peer {
        origin: Origin {
            client: from.map(|from| from.ip()),
            scheme,
        },
        worker,
    }
}

/// A place among the open connections.
struct Open(Arc<App>);

impl Open {
    /// `None`, and the connection is closed, when `limits.max_connections` is reached.
    fn enter(app: &Arc<App>) -> Option<Self> {
        let max = app.loaded().config.limits.max_connections;
        if app.connections.fetch_add(1, Ordering::Relaxed) >= max {
            app.connections.fetch_sub(1, Ordering::Relaxed);
            app.metrics.connections_refused.inc();
            return None;
        }
        app.metrics.connections.inc();
        app.metrics.connections_active.inc();
        Some(Self(Arc::clone(app)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections_active.dec();
    }
}
