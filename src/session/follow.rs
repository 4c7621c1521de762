//! Attaches a client that comes back to a stream of this instance.

use std::sync::Arc;

use tokio::time::Instant;

use super::registry::Viewer;
use super::resumable::Resumable;
use super::start::Started;
use super::viewer::{Returned, ViewerParts, ViewerTask};
use crate::hub::Refused;
use crate::stream::pump::Reader;

/// A client that comes back to a stream.
#[derive(Debug)]
pub struct Follow {
    /// The client's request.
    pub returned: Returned,
    /// The client's connection.
    pub reader: Arc<dyn Reader>,
}

/// Attaches a client to a stream that it comes back to. Returns how many events are replayed, too.
///
/// # Errors
/// If there are too many viewers, or the position cannot be continued from.
pub fn follow(stream: &Resumable, follow: Follow) -> Result<(Started, u64), Refused> {
    let Follow { returned, reader } = follow;
    let now = Instant::now();
    let attached = stream.hub.attach(returned.after, now)?;
    let live = &stream.live;
    live.add_viewer(Viewer {
        number: attached.number,
        queue: attached.probe,
        reader: Arc::clone(&reader),
    });
    // The stream keeps the settings that it has begun with.
    let policy = &live.context.route.policy;
    let preamble = stream.hub.encoder().preamble(policy.preamble_bytes);
    let viewer = ViewerTask::new(ViewerParts {
        live: Arc::clone(live),
        hub: Arc::clone(&stream.hub),
        number: attached.number,
        reader,
        returned: Some(returned),
        heartbeat: policy.heartbeat,
        stall: policy.deadlines.client_stall,
        total_at: now + policy.deadlines.total,
    });
    let started = Started {
        receiver: attached.receiver,
        task: Box::pin(viewer),
        preamble,
    };
    Ok((started, attached.replay))
}
