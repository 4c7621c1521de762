//! Active checks: each endpoint is asked now and then whether it is well.
//!
//! Each check is a connection of its own: a pooled one would only prove that it is still open.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connect::connect;
use super::endpoint::Endpoints;
use super::{Connector, Error};
use crate::config::{Endpoint, Upstream};

/// Failed checks in a row after which an endpoint is left out; one good check takes it in again.
const FAILURES: u32 = 2;
/// Longest time one check may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the endpoint at `index` for as long as anybody else holds `endpoints`.
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
    let mut failures = 0;
    loop {
        ticks.tick().await;
        let endpoint = (endpoints.upgrade()).and_then(|all| all.list().nth(index).cloned());
        let Some(endpoint) = endpoint else { return };
        let limit = upstream.health.interval.min(PATIENCE);
        let check = ask(&upstream, &endpoint, connector.as_ref(), &path);
        let problem = match timeout(limit, check).await {
            Ok(Ok(status)) if status.as_u16() < 400 => None,
            Ok(Ok(status)) => Some(format!("status {}", status.as_u16())),
            Ok(Err(error)) => Some(error),
            Err(_) => Some(format!("no answer within {limit:?}")),
        };
        failures = if problem.is_some() { failures + 1 } else { 0 };
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
    let io = connect(upstream, endpoint, connector.map(|one| &one.0))
        .await
        .map_err(told)?;
    let request = Request::get(format!("{}{path}", endpoint.path_prefix))
        .header(header::HOST, &endpoint.authority)
        .header(
            header::USER_AGENT,
            concat!("weir/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(io)
        .await
        .map_err(|error| error.to_string())?;
    let (mut response, mut connection) = (pin!(sender.send_request(request)), pin!(connection));
    poll_fn(|cx| {
        // The connection first: it is what brings the response, also when it closes with it.
        let over = connection.as_mut().poll(cx);
        if let Poll::Ready(result) = response.as_mut().poll(cx) {
            let status = result.map(|response| response.status());
            return Poll::Ready(status.map_err(|error| error.to_string()));
        }
        let closed = "closed without an answer".to_owned();
        over.map(|over| Err(over.err().map_or(closed, |error| error.to_string())))
    })
    .await
}
