//! The admin listener: serves metrics, health, live streams and drain, never on a traffic port.

mod answer;
mod facts;
mod format;
mod guard;
mod live;
mod past;
mod scrape;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use answer::Body;
pub(crate) use guard::MARK;
use guard::{Guard, Refusal};

use crate::app::App;
use crate::config::Address;
use crate::drain::Drain;
use crate::server::holder::why_not;
use crate::server::socket;
use crate::tasks;

/// Deadline for a request head to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// A connection whose client acknowledges nothing for this long is closed as half-open.
const VANISHED: Duration = Duration::from_secs(60);
/// At most one refused request is logged in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How many bytes of a `Host` a log line shows.
const MAX_HOST: usize = 253;

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
    let refused = |error: io::Error| {
        let why = why_not(address, &error);
        let message = format!("cannot listen on {address} (admin.listen): {why}");
        io::Error::new(error.kind(), message)
    };
    match address {
        Address::Tcp(tcp) => {
            let mut sockets = socket::tcp(*tcp, 1).map_err(refused)?;
            let socket = sockets.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let shown = socket.local_addr()?.to_string();
            Ok((Listener::Tcp(TcpListener::from_std(socket)?), shown))
        }
        Address::Unix(path) => {
            let socket = socket::unix(path).map_err(refused)?;
            Ok((
                Listener::Unix(UnixListener::from_std(socket)?),
                address.to_string(),
            ))
        }
    }
}

/// Serves the admin listener for the lifetime of the process.
pub async fn serve(service: Service, listener: Arc<Listener>) {
    loop {
        let accepted = match &*listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                socket::tune(&stream, VANISHED);
                service.enter(stream);
            }),
            Listener::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| service.enter(stream)),
        };
        if accepted.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The state that all connections share.
#[derive(Clone, Debug)]
pub struct Service(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    app: Arc<App>,
    drain: Arc<Drain>,
    guard: Guard,
    places: Arc<Semaphore>,
    /// When a refused request was last logged. Locked for a comparison.
    last_logged: Mutex<Option<Instant>>,
}

impl Service {
    /// Creates the state of the listener in the configuration that is in force. The listener has file descriptors of
    /// its own: clients and agents cannot use them up.
    pub fn new(app: Arc<App>, drain: Arc<Drain>) -> Self {
        let guard = Guard::new(&app.loaded().config.admin);
        let max = app.loaded().config.limits.descriptors.admin;
        Self(Arc::new(Shared {
            app,
            drain,
            guard,
            places: Arc::new(Semaphore::new(max)),
            last_logged: Mutex::default(),
        }))
    }

    /// Serves a connection if there is a file descriptor for it; otherwise the connection is closed.
    fn enter<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() {
            self.connection(stream, place);
        }
    }

    fn connection<S>(&self, stream: S, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.0);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(shared.respond(&request).await) }
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

impl Shared {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Body> {
        if let Err(refusal) = self.guard.check(request) {
            self.log(refusal, request.headers().get(header::HOST));
            return answer::refuse(refusal);
        }
        answer::answer(&self.app, &self.drain, request).await
    }

    /// Logs a refused request, because whoever sent it may not show the response: a Prometheus, for example, only shows
    /// its status.
    fn log(&self, refusal: Refusal, host: Option<&HeaderValue>) {
        let mut last_logged = self
            .last_logged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last_logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        *last_logged = Some(Instant::now());
        drop(last_logged);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.get(..MAX_HOST).unwrap_or(host);
        tracing::warn!(
            host,
            why = refusal.message().trim_end(),
            "an admin request was refused"
        );
    }
}
