//! Marks a request that comes from a bridge.

use std::sync::Arc;

use crate::config::Route;
use crate::metrics::RouteMetrics;
use crate::translate::Target;

/// The extension of a request that comes from a bridge. Like a stream, a bridge keeps the configuration that it began
/// with.
#[derive(Clone, Debug)]
pub(super) struct Bridged {
    /// The route that took the WebSocket, and takes its requests.
    pub(super) route: Arc<Route>,
    pub(super) metrics: Arc<RouteMetrics>,
    /// What its stream is translated to.
    pub(super) target: Target,
}
