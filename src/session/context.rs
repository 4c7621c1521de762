//! The facts of a request that found its route. Plain data.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use tokio::time::Instant;

use super::identity::Identity;
use crate::config::Route;
use crate::metrics::RouteMetrics;

/// One request, for its log line, its metrics, its span and the list of live streams.
#[derive(Debug)]
pub struct RequestContext {
    /// `X-Request-Id` and the trace context.
    pub identity: Identity,
    /// The client's address; `None` over a Unix socket.
    pub client: Option<IpAddr>,
    /// Method.
    pub method: Method,
    /// Path without its query, cut to a bounded length.
    pub path: Arc<str>,
    /// The route that took it, as configured when it came.
    pub route: Arc<Route>,
    /// The route's metrics.
    pub metrics: Arc<RouteMetrics>,
    /// When its head was read.
    pub started: Instant,
}
