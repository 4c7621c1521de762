//! How a stream begins: its parts are made, joined and registered.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::account::ReadCounts;
use super::context::RequestContext;
use super::registry::{Registration, Viewer};
use super::task::{StreamInfo, StreamTask};
use crate::dialect::{Dialect, Members};
use crate::encode::Encoder;
use crate::metrics::Metrics;
use crate::queue::{self, Receiver};
use crate::stream::deadline::Lengths;
use crate::stream::pipeline::{Pipeline, Settings};
use crate::stream::pump::{
    EgressParts, IngressParts, Outlet, Parts, Pump, Reader, Running, Source,
};
use crate::traces::Span;
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// What is known when a stream starts.
pub struct Start {
    /// Framing by content type; the first bytes may say otherwise.
    pub framing: Framing,
    /// Content coding of the body.
    pub coding: Coding,
    /// The upstream's body.
    pub source: Box<dyn Source>,
    /// When the upstream had the request.
    pub sent: Instant,
    /// The dialect, as far as it can be told before the first event.
    pub dialect: Option<Dialect>,
    /// What the request's body says.
    pub members: Members,
    /// The status that the client gets.
    pub status: StatusCode,
    /// A client that leaves does not end the upstream call.
    pub detaches: bool,
    /// The client's connection.
    pub reader: Arc<dyn Reader>,
    /// The request's span, where spans are exported.
    pub span: Option<Span>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

/// A stream that has begun, for its client's connection.
pub struct Started {
    /// What the client reads from.
    pub receiver: Receiver,
    /// What fills it; to be polled for as long as it runs.
    pub task: Running,
    /// What goes out ahead of the stream.
    pub preamble: Bytes,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// Starts the stream that `registration` made room for. It flows as soon as somebody polls its task.
pub fn start(metrics: &Arc<Metrics>, registration: Registration, start: Start) -> Started {
    let Start {
        framing,
        coding,
        source,
        sent,
        dialect,
        members,
        status,
        detaches,
        reader,
        span,
    } = start;
    let live = Arc::clone(&registration.live);
    let context = Arc::clone(&live.context);
    let policy = &context.route.policy;
    let pipeline = Pipeline::new(&Settings {
        framing,
        coding,
        choice: policy.dialect,
        hint: dialect,
        members,
        max_event_bytes: policy.max_event_bytes,
        hide: Arc::clone(&policy.hide),
    });
    let encoder = Encoder::identity(dialect, framing);
    let (sender, receiver) = queue::queue(policy.queue, encoder);
    live.add_viewer(Viewer {
        queue: sender.probe(),
        reader: Arc::clone(&reader),
    });
    let pump = Pump::new(Parts {
        ingress: IngressParts {
            source,
            pipeline,
            started: sent,
            observer: Box::new(ReadCounts::new(Arc::clone(&live))),
            detaches,
            wants_model: span.is_some(),
        },
        egress: EgressParts {
            encoder,
            outlet: Outlet::Direct(sender),
            reader,
            heartbeat: policy.heartbeat,
        },
        lengths: lengths(&context),
        stop: Arc::clone(&live.stop),
    });
    let active = context.metrics.stream_active(framing);
    let preamble = encoder.preamble(policy.preamble_bytes);
    let info = StreamInfo::new(registration, active, status, span);
    let task = StreamTask::new(pump, info, Arc::clone(metrics));
    Started {
        receiver,
        task: Box::pin(task),
        preamble,
    }
}

fn lengths(context: &RequestContext) -> Lengths {
    let deadlines = &context.route.policy.deadlines;
    Lengths {
        first_event: deadlines.first_event,
        idle: deadlines.idle,
        progress: deadlines.progress,
        total: deadlines.total,
        client_stall: deadlines.client_stall,
    }
}
