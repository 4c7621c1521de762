//! Accepts connections, and hands them to the worker with the least load.
//!
//! The kernel spreads connections over the workers' sockets by a hash. Few clients, or clients with long
//! streams, can all land on one worker, so a worker with a clearly higher load hands a new connection to
//! another one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::listener::Share;
use super::tracked_io::PeerState;
use super::{connection, socket};
use crate::app::{App, Load};
use crate::certificate::ReloadingCertificate;
use crate::tasks;
use crate::upstream::request::Origin;

/// How many connections begin before the thread's other tasks run and its sockets are polled. A connection does all the
/// work for its first response at that point. So when thousands of clients connect at once, an event of another stream
/// waits for this many of them at most, and the rest wait in the backlog.
const TURN: usize = 8;
/// Pause after a failed accept. After descriptor exhaustion, descriptors may become free again; retrying at
/// once would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed accepts come in bursts; at most one is logged in this time.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// A worker hands a connection on if its load exceeds that of the least busy worker by more than this, plus the share
/// [`SLACK_SHARE`].
const SLACK: usize = 4;
/// The load of the least busy worker is divided by this, and added to [`SLACK`].
const SLACK_SHARE: usize = 8;

/// A listening socket in a worker's runtime.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that was just accepted.
pub(super) struct Arrival {
    socket: Socket,
    from: Option<SocketAddr>,
    tls: Option<Arc<ReloadingCertificate>>,
    open: Open,
}

/// A socket outside of any runtime, so that it can move to another thread.
enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on the share in the current runtime. The share itself stays open if the runtime ends.
    pub(super) fn new(share: &Share) -> io::Result<Self> {
        Ok(match share {
            Share::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket.try_clone()?)?),
            Share::Unix(socket) => Self::Unix(UnixListener::from_std(socket.try_clone()?)?),
        })
    }

    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Some(from)))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// Accepts connections for as long as the worker runs.
pub(super) async fn accept(
    acceptor: Acceptor,
    listener: Arc<Listener>,
    tls: Option<Arc<ReloadingCertificate>>,
) {
    let mut last_logged: Option<Instant> = None;
    let mut turn = Turn::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                tasks::rehearse_defect(|| "accept".to_owned());
                acceptor.enter(stream, from, tls.clone());
                turn.note().await;
            }
            Err(error) => {
                if last_logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                    last_logged = Some(Instant::now());
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts the connections that begin on one thread.
#[derive(Default)]
pub(super) struct Turn(usize);

impl Turn {
    /// Notes one. Lets the others have their turn after every [`TURN`].
    pub(super) async fn note(&mut self) {
        self.0 += 1;
        if self.0 == TURN {
            self.0 = 0;
            // Goes on once the runtime has asked its sockets.
            yield_now().await;
        }
    }
}

/// Serves the connections that one worker accepts, or hands them to another worker.
#[derive(Clone)]
pub(super) struct Acceptor {
    app: Arc<App>,
    worker: usize,
    others: Arc<[mpsc::Sender<Arrival>]>,
}

impl Acceptor {
    pub(super) const fn new(
        app: Arc<App>,
        worker: usize,
        others: Arc<[mpsc::Sender<Arrival>]>,
    ) -> Self {
        Self {
            app,
            worker,
            others,
        }
    }

    fn enter(
        &self,
        stream: Stream,
        from: Option<SocketAddr>,
        tls: Option<Arc<ReloadingCertificate>>,
    ) {
        let Some(open) = Open::enter(&self.app) else {
            return;
        };
        let Some(other) = self.less_busy() else {
            return self.serve(stream, from, tls, open);
        };
        let socket = match stream {
            Stream::Tcp(stream) => stream.into_std().map(Socket::Tcp),
            Stream::Unix(stream) => stream.into_std().map(Socket::Unix),
        };
        match socket {
            Ok(socket) => {
                let arrival = Arrival {
                    socket,
                    from,
                    tls,
                    open,
                };
                if let Err(refused) = other.try_send(arrival) {
                    self.take_over(refused.into_inner());
                }
            }
            Err(error) => tracing::warn!(%error, "a connection was lost between workers"),
        }
    }

    /// Serves a connection that another worker accepted.
    pub(super) fn take_over(&self, arrival: Arrival) {
        let Arrival {
            socket,
            from,
            tls,
            open,
        } = arrival;
        let stream = match socket {
            Socket::Tcp(socket) => TcpStream::from_std(socket).map(Stream::Tcp),
            Socket::Unix(socket) => UnixStream::from_std(socket).map(Stream::Unix),
        };
        match stream {
            Ok(stream) => self.serve(stream, from, tls, open),
            Err(error) => tracing::warn!(%error, "a connection was lost between workers"),
        }
    }

    /// Returns the least busy worker, if this one has a clearly higher load.
    fn less_busy(&self) -> Option<&mpsc::Sender<Arrival>> {
        let load = |worker: usize| self.app.load.get(worker).map_or(0, Load::get);
        let is_up = |worker: &usize| !self.app.load.get(*worker).is_some_and(Load::is_down);
        let up = (0..self.others.len()).filter(is_up);
        let least = up.min_by_key(|worker| load(*worker))?;
        let bound = load(least) + SLACK + load(least) / SLACK_SHARE;
        (load(self.worker) >= bound)
            .then(|| self.others.get(least))
            .flatten()
    }

    fn serve(
        &self,
        stream: Stream,
        from: Option<SocketAddr>,
        tls: Option<Arc<ReloadingCertificate>>,
        open: Open,
    ) {
        let (app, worker) = (Arc::clone(&self.app), self.worker);
        let busy = app.load.get(worker).map(Load::enter);
        let origin = Origin {
            client: from.map(|from| from.ip()),
            forwarded: false,
            hop: app.hop.clone(),
            scheme: if tls.is_some() { "https" } else { "http" },
        };
        let held = (open, busy);
        let tls = tls.as_ref();
        match stream {
            Stream::Tcp(stream) => {
                socket::tune(&stream, app.loaded().longest_stall());
                run(app, worker, origin, stream, tls, held);
            }
            Stream::Unix(stream) => run(app, worker, origin, stream, tls, held),
        }
    }
}

/// Spawns the task of a connection.
fn run<S>(
    app: Arc<App>,
    worker: usize,
    origin: Origin,
    stream: S,
    tls: Option<&Arc<ReloadingCertificate>>,
    held: impl Send + Unpin + 'static,
) where
    S: AsyncRead + AsyncWrite + PeerState + Send + Unpin + 'static,
{
    match tls {
        None => tasks::spawn(connection::plain(app, worker, origin, stream, held)),
        Some(tls) => {
            let tls = Arc::clone(tls);
            tasks::spawn(connection::over_tls(app, worker, origin, stream, tls, held))
        }
    };
}

/// Counts a connection as open until it is dropped.
struct Open(Arc<App>);

impl Open {
    /// Returns `None` if there are `limits.max_connections`, or as many as there are file descriptors for; the
    /// connection is then closed.
    fn enter(app: &Arc<App>) -> Option<Self> {
        let max = app.loaded().config.limits.connections();
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_while_many_connect() {
        let turns = Cell::new(0);
        let mut turn = Turn::default();
        let connects = async {
            for _ in 0..3 * TURN {
                turn.note().await;
            }
        };
        let others = async {
            for _ in 0..1000 {
                yield_now().await;
                turns.set(turns.get() + 1);
            }
        };
        tokio::select! {
            () = connects => {}
            () = others => {}
        }
        assert!(turns.get() >= 2, "{}", turns.get());
    }
}
