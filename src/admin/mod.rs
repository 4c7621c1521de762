//! The admin listener: serves metrics, health, live streams and drain, never on a traffic port.

mod answer;
mod guard;
mod live;
mod scrape;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use answer::answer;

use crate::app::App;
use crate::config::Address;
use crate::drain::Drain;
use crate::server::socket;
use crate::tasks;

/// Deadline for a request head to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// A connection whose client acknowledges nothing for this long is closed as half-open.
const VANISHED: Duration = Duration::from_secs(60);

/// A bound admin listener.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix socket.
    Unix(UnixListener),
}

/// Binds the admin listener and returns it with its address.
///
/// # Errors
/// Returns an error if the address cannot be bound.
pub fn bind(address: &Address) -> io::Result<(Listener, String)> {
    match address {
        Address::Tcp(address) => {
            let failed = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot listen on {address} (admin.listen): {error}"),
                )
            };
            let mut sockets = socket::tcp(*address, 1).map_err(failed)?;
            let socket = sockets.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let shown = socket.local_addr()?.to_string();
            Ok((Listener::Tcp(TcpListener::from_std(socket)?), shown))
        }
        Address::Unix(path) => Ok((
            Listener::Unix(UnixListener::from_std(socket::unix(path)?)?),
            format!("unix:{}", path.display()),
        )),
    }
}

/// Serves the admin listener for the lifetime of the process. It has file descriptors of its own: clients and agents
/// cannot use them up. Connections beyond that are closed immediately.
pub async fn serve(app: Arc<App>, drain: Arc<Drain>, listener: Listener) {
    let max = app.loaded().config.limits.descriptors.admin;
    let places = Arc::new(Semaphore::new(max));
    let admin = AdminService {
        app,
        drain,
        local: listener.is_local(),
    };
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                socket::tune(&stream, VANISHED);
                enter(&places, |place| admin.connection(stream, place));
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                enter(&places, |place| admin.connection(stream, place));
            }),
        };
        if accepted.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Listener {
    /// Reports whether the listener has a loopback address.
    fn is_local(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener.local_addr().is_ok_and(|at| at.ip().is_loopback()),
            Self::Unix(_) => false,
        }
    }
}

/// Serves a connection if the limit allows it; otherwise the connection is closed.
fn enter(places: &Arc<Semaphore>, serve: impl FnOnce(OwnedSemaphorePermit)) {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        serve(place);
    }
}

/// The state that all connections share.
#[derive(Clone)]
struct AdminService {
    app: Arc<App>,
    drain: Arc<Drain>,
    local: bool,
}

impl AdminService {
    fn connection<S>(&self, stream: S, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let admin = self.clone();
        let service = service_fn(move |request| {
            let Self { app, drain, local } = admin.clone();
            async move { Ok::<_, Infallible>(answer(&app, &drain, local, &request).await) }
        });
        tasks::spawn(async move {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "an admin connection ended");
            }
            drop(place);
        });
    }
}
