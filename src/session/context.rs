//! The data of a request that has a route.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use tokio::time::Instant;

use super::identity::Identity;
use crate::config::Route;
use crate::metrics::RouteMetrics;

/// The data of one request, for its log line, its metrics, its span and the list of live streams.
#[derive(Debug)]
pub struct RequestContext {
    /// `X-Request-Id` and the trace context.
    pub identity: Identity,
    /// The client's address; `None` over a Unix socket.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// The path without its query, truncated to a bounded length.
    pub path: Arc<str>,
    /// What the caller wants to find in the record of the stream.
    pub metadata: Option<Arc<str>>,
    /// The route of the request, as configured when the request arrived.
    pub route: Arc<Route>,
    /// The route's metrics.
    pub metrics: Arc<RouteMetrics>,
    /// When the head of the request had been read.
    pub started: Instant,
}

#[cfg(test)]
impl RequestContext {
    /// The context of a GET for `/` on a route `r`, counted in `metrics`.
    pub(crate) fn example(metrics: &crate::metrics::Metrics) -> Arc<Self> {
        use crate::config::{self, Overrides};

        let text = "upstreams: { a: { endpoints: [\"http://127.0.0.1:1\"] } }\nroutes: [{ name: r, upstream: a }]\n";
        let config = config::load(Some(("f", text)), &Overrides::default()).unwrap();
        Arc::new(Self {
            identity: Identity::of(&mut http::HeaderMap::new()),
            client: None,
            method: Method::GET,
            path: "/".into(),
            metadata: None,
            route: Arc::clone(&config.routes[0]),
            metrics: metrics.route("r"),
            started: Instant::now(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_little() {
        // With the two counts of its `Arc`. The allocator gives out 224 bytes, and then 256.
        let size = 2 * size_of::<usize>() + size_of::<RequestContext>();
        assert!(size <= 224, "{size}");
    }
}
