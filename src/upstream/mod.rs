//! Sends requests to agents: picks an endpoint, gets a connection, sends the request, and reads the response head.
//!
//! HTTP/1.1 (`http1`) carries one stream per connection, so dropping a response body cancels exactly one run. With
//! HTTP/2 (`http2`) several streams share a connection. An agent that speaks only WebSocket (`websocket`) gets the
//! request as a message, on a connection of its own. A request is sent a second time only if the upstream accepted
//! nothing of the first attempt: connecting failed, a reused connection closed before the request left, or the upstream
//! says so. A safe one (GET) is sent a second time if a reused connection closed without a byte of the answer, too.

pub mod accept;
mod acks;
mod body;
mod client;
mod connect;
mod converse;
mod endpoint;
mod error;
mod exchange;
pub mod fields;
mod health;
pub mod hops;
pub mod http1;
mod http2;
mod pool;
mod progress;
pub mod request;
mod request_body;
mod socket;
mod sockets;
mod tls;
mod trust;
mod upgrade;
mod upgraded;
mod verdict;
pub mod websocket;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

pub use body::Body;
pub use client::{Answer, Calling, Client, Interim};
use connect::Speaks;
pub use endpoint::{EndpointStatus, Endpoints};
pub use error::{Broken, Error, Malformed};
pub use progress::Read;
pub use request_body::{Payload, RequestBody, RequestLimits};
pub use sockets::{Budget, Sockets};
pub use upgrade::takes_upgrades;
pub use upgraded::Upgraded;
pub use verdict::Received;
pub use websocket::Terms;

use crate::config::{Endpoint, Upstream};

/// Age beyond which a connection takes no further request, however busy it is: the name of its endpoint may resolve to
/// another address by now, and its certificate may have expired.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A TLS connector, with a `Debug` that shows none of its contents.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

/// Builds the TLS connector of `upstream`, if any endpoint needs one.
///
/// # Errors
/// If a certificate or key file cannot be read, or they do not match.
pub fn connector(upstream: &Upstream) -> io::Result<Option<Connector>> {
    let needed = upstream.endpoints.iter().any(|endpoint| endpoint.tls);
    needed
        .then(|| tls::connector(&upstream.tls, upstream.http2).map(Connector))
        .transpose()
}

/// Opens a connection to `endpoint`, outside of any pool.
///
/// # Errors
/// If it cannot be opened.
pub async fn dial(
    upstream: &Upstream,
    endpoint: &Endpoint,
    connector: Option<&Connector>,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Error> {
    let speaks = Speaks::configured(upstream);
    connect::connect(upstream, endpoint, connector.map(|one| &one.0), speaks).await
}

/// The check of an endpoint, which ends when its endpoints are dropped.
pub type Check = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Returns what starts the health check of each of one upstream's endpoints, or nothing if none are configured.
pub fn checks(
    upstream: &Arc<Upstream>,
    endpoints: &Arc<Endpoints>,
    connector: Option<&Connector>,
) -> impl Iterator<Item = impl Fn() -> Check + Send + 'static> {
    let asked = if upstream.health.path.is_some() {
        endpoints.list().count()
    } else {
        0
    };
    (0..asked).map(move |index| {
        let (upstream, connector) = (Arc::clone(upstream), connector.cloned());
        let endpoints = Arc::downgrade(endpoints);
        move || -> Check {
            let (upstream, endpoints) = (Arc::clone(&upstream), Weak::clone(&endpoints));
            Box::pin(health::watch(upstream, endpoints, index, connector.clone()))
        }
    })
}
