//! Active health checks: requests a path of each endpoint at regular intervals.
//!
//! Each check opens a connection of its own: a pooled one would only prove that it is still open.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, StatusCode, header, request};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connect::{self, Speaks};
use super::endpoint::Endpoints;
use super::exchange::Exchange;
use super::http1;
use super::http2::Stream;
use super::progress::Failure;
use super::{Connector, Error};
use crate::config::{Endpoint, Upstream};

/// Consecutive failed checks after which an endpoint is taken out of rotation. One successful check puts it back.
const FAILURES: u32 = 2;
/// Longest time that one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the endpoint at `index` until `endpoints` is dropped.
pub(super) async fn watch(
    upstream: Arc<Upstream>,
    endpoints: Weak<Endpoints>,
    index: usize,
    connector: Option<Connector>,
) {
    let Some(path) = upstream.health.path.clone() else {
        return;
    };
    let mut ticks = interval(upstream.health.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures: u32 = 0;
    loop {
        ticks.tick().await;
        let endpoint = (endpoints.upgrade()).and_then(|all| all.list().nth(index).cloned());
        let Some(endpoint) = endpoint else { return };
        let limit = upstream.health.interval.min(CHECK_TIMEOUT);
        let check = ask(&upstream, &endpoint, connector.as_ref(), &path);
        let problem = match timeout(limit, check).await {
            Ok(Ok(status)) if status.as_u16() < 400 => None,
            Ok(Ok(status)) => Some(format!("status {}", status.as_u16())),
            Ok(Err(error)) => Some(error),
            Err(_) => Some(format!("no answer within {limit:?}")),
        };
        failures = if problem.is_some() {
            failures.saturating_add(1)
        } else {
            0
        };
        let Some(all) = endpoints.upgrade() else {
            return;
        };
        if (failures == 0 || failures >= FAILURES) && all.found(index, failures == 0) {
            let (upstream, endpoint) = (&*upstream.name, &endpoint.authority);
            match problem {
                None => tracing::info!(upstream, endpoint, "endpoint is well again"),
                Some(problem) => {
                    tracing::warn!(upstream, endpoint, problem, "endpoint is not well");
                }
            }
        }
    }
}

async fn ask(
    upstream: &Upstream,
    endpoint: &Endpoint,
    connector: Option<&Connector>,
    path: &str,
) -> Result<StatusCode, String> {
    let told = |error: Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    };
    let request = question(endpoint, path).map_err(|error| error.to_string())?;
    let connector = connector.map(|one| &one.0);
    let mut exchange = if upstream.http2 {
        let shared = connect::shared(upstream, endpoint, connector);
        Exchange::Shared(Box::new(Stream::new(
            shared.await.map_err(told)?.first_place(),
        )))
    } else {
        let io = connect::connect(upstream, endpoint, connector, Speaks::Http1);
        Exchange::Own(http1::Connection::new(io.await.map_err(told)?))
    };
    exchange.begin(&request, None);
    match poll_fn(|cx| exchange.poll_head(cx, |_, _| {})).await {
        Ok(head) => Ok(head.status),
        Err(Failure::Malformed(malformed)) => Err(malformed.to_string()),
        Err(Failure::Reset(error)) => Err(format!("closed without an answer: {error}")),
        Err(Failure::RequestBody) => Err("the request has a body".to_owned()),
    }
}

/// Builds the request of a check: without a body, on a connection that serves no other request.
fn question(endpoint: &Endpoint, path: &str) -> Result<request::Parts, http::Error> {
    // The path of a WebSocket is no prefix, and no place for checks.
    let prefix = if endpoint.websocket {
        ""
    } else {
        &endpoint.path_prefix
    };
    let request = Request::get(format!("{prefix}{path}"))
        .header(header::HOST, &endpoint.authority)
        .header(
            header::USER_AGENT,
            concat!("weir/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(())?;
    Ok(request.into_parts().0)
}
