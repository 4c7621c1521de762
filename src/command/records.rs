//! The outbox of the process, for records of finished streams: started from the configuration, drained at the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Complete;
use crate::metrics::Metrics;
use crate::outbox::{Counted, Destination, Hook, Outbox};
use crate::signing::Key;

/// The least time for what waits at the end. Records of the last streams come only when the streams have ended, which
/// may be at the limit of the drain.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// Starts the outbox; returns `None` without a destination.
///
/// # Errors
/// If the destination cannot be used; the message names its key.
pub(super) fn start(
    complete: &Complete,
    metrics: &Arc<Metrics>,
) -> io::Result<Option<Arc<Outbox>>> {
    let (key, destination) = match (&complete.url, &complete.file) {
        (Some(_), _) => ("complete.url", webhook(complete)),
        (None, Some(file)) => ("complete.file", Ok(Destination::File(file.clone()))),
        (None, None) => return Ok(None),
    };
    let metrics = Arc::clone(metrics);
    let tally = Arc::new(move |counted: Counted| match counted {
        Counted::GivenUp(reason) => metrics.record(reason.as_str()),
        Counted::Retried => metrics.record_retries.inc(),
        Counted::Sent => metrics.record("sent"),
    });
    destination
        .and_then(|destination| Outbox::start(destination, tally))
        .map(|outbox| Some(Arc::new(outbox)))
        .map_err(|error| io::Error::new(error.kind(), format!("{key}: {error}")))
}

fn webhook(complete: &Complete) -> io::Result<Destination> {
    // The check of the configuration found both.
    let (Some(url), Some(secret)) = (&complete.url, &complete.secret) else {
        return Err(io::Error::other("needs `complete.secret`"));
    };
    let secret = secret.value.to_str().map_err(io::Error::other)?;
    Ok(Destination::Webhook(Box::new(Hook {
        endpoint: url.endpoint.clone(),
        target: url.target.clone(),
        tls: complete.tls.clone(),
        key: Key::parse(secret).map_err(io::Error::other)?,
    })))
}

/// Sends what waits once more, until the drain has reached its limit.
pub(super) async fn drain(outbox: &Outbox, limit_at: Instant) {
    let waiting = outbox.waiting().records;
    let lost = outbox
        .drain(limit_at.max(Instant::now() + LAST_RECORDS))
        .await;
    if lost > 0 {
        tracing::warn!(lost, "records of streams were lost");
    } else if waiting > 0 {
        tracing::info!(waiting, "records of streams were sent");
    }
}
