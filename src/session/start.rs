//! Starts a stream: creates its parts and connects them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::accounting::ReadCounts;
use super::asked_model::AskedModel;
use super::context::RequestContext;
use super::detached::Detachable;
use super::records::Recording;
use super::registry::{LiveStream, Registration, Viewer};
use super::resumable::{Name, Resumable, Resumables};
use super::stored::{self, Storing};
use super::task::{StreamInfo, StreamTask};
use super::viewer::{ViewerParts, ViewerTask, WithViewer};
use crate::config::{OnDisconnect, Resume};
use crate::dialect::{Dialect, Members};
use crate::encode::Encoder;
use crate::hub::{self, Hub, Ids, OnLeave};
use crate::journal::Bounds;
use crate::merge::Board;
use crate::metrics::Metrics;
use crate::queue::{self, Receiver};
use crate::stream::deadline::Lengths;
use crate::stream::pipeline::{Pipeline, Settings};
use crate::stream::pump::{
    EgressParts, IngressParts, Outlet, Parts, Pump, Reader, Running, Source,
};
use crate::traces::Span;
use crate::translate::{Ensemble, Recorder, Statuses, Target, Translator};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// What a stream is started from.
pub struct Start {
    /// The framing according to the content type; the first bytes may show another one.
    pub framing: Framing,
    /// The content coding of the body.
    pub coding: Coding,
    /// The upstream's body.
    pub source: Box<dyn Source>,
    /// When the request was sent to the upstream.
    pub sent: Instant,
    /// The dialect, as far as it is known before the first event.
    pub dialect: Option<Dialect>,
    /// What the stream is translated to; `None` if it keeps its dialect.
    pub target: Option<Target>,
    /// The client gets one answer at the end, not a stream.
    pub whole: bool,
    /// The head waits for the end, and its status tells a failure.
    pub late_head: bool,
    /// How long nothing is sent before a heartbeat is; zero turns heartbeats off.
    pub heartbeat: Duration,
    /// What the request says about its stream.
    pub members: Members,
    /// The status that the client gets.
    pub status: StatusCode,
    /// Lets the upstream call continue when the client leaves; `None` if it is cancelled.
    pub detaches: Option<Detachable>,
    /// The stream is a subscription: it may be silent for as long as it lasts.
    pub subscribes: bool,
    /// The client's connection.
    pub reader: Arc<dyn Reader>,
    /// The span of the request, if spans are exported.
    pub span: Option<Span>,
    /// The model that the request asks for, if metrics name it.
    pub asked_model: Option<AskedModel>,
    /// Where the record of the stream goes; `None` if there is none.
    pub recording: Option<Recording>,
    /// How clients come back to the stream; `None` if they cannot.
    pub resuming: Option<Resuming>,
    /// What its agents have in common, if there are several.
    pub merging: Option<Merging>,
}

/// What the agents of one stream have in common.
#[derive(Clone, Debug)]
pub struct Merging {
    /// What the translators of the agents share.
    pub ensemble: Arc<Ensemble>,
    /// The outcome of each agent.
    pub board: Arc<Board>,
}

/// How clients come back to a stream.
#[derive(Debug)]
pub struct Resuming {
    /// The list that finds the stream.
    pub streams: Arc<Resumables>,
    /// The digest of the caller's credentials.
    pub caller: [u8; 32],
    /// The headers that the first client gets.
    pub headers: HeaderMap,
    /// Which events have ids.
    pub ids: Ids,
    /// The settings of the route.
    pub settings: Arc<Resume>,
    /// What the stream can be asked for by.
    pub names: Vec<Name>,
    /// The digest of the request's body, where a second request must have the same.
    pub body: Option<[u8; 32]>,
    /// Where the stream is kept, too, for clients that come back to another instance.
    pub storing: Option<Storing>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

/// A started stream, for the connection of its client.
pub struct Started {
    /// What the client reads from.
    pub receiver: Receiver,
    /// The task that fills `receiver`. It must be polled until it ends.
    pub task: Running,
    /// What is sent before the stream.
    pub preamble: Bytes,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// Starts the stream of `registration`. It runs as soon as its task is polled.
pub fn start(metrics: &Arc<Metrics>, registration: Registration, start: Start) -> Started {
    let Start {
        framing,
        coding,
        mut source,
        sent,
        dialect,
        target,
        whole,
        late_head,
        heartbeat,
        members,
        status,
        detaches,
        subscribes,
        reader,
        span,
        asked_model,
        recording,
        resuming,
        merging,
    } = start;
    if subscribes {
        source.set_subscription();
    }
    let live = Arc::clone(&registration.live);
    if let Some(target) = target {
        live.replies(target);
    }
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
    let (pipeline, encoder) = match target {
        None => (pipeline, Encoder::identity(dialect, framing)),
        Some(target) if whole => (
            pipeline.translated(
                Translator::new(target, unix_time())
                    .showing_status(policy.reply.statuses)
                    .whole(policy.max_event_bytes / WHOLE_SHARE),
            ),
            Encoder::whole(target),
        ),
        Some(target) => {
            let translator = match &merging {
                None => Translator::new(target, unix_time()),
                Some(merging) => Translator::of_run(target, unix_time(), &merging.ensemble),
            };
            (
                pipeline.translated(translator.showing_status(policy.reply.statuses)),
                Encoder::translated(target.dialect(), target.framing()),
            )
        }
    };
    let pipeline = match &recording {
        None => pipeline,
        Some(recording) => pipeline.recorded(Recorder::new(recording.max_text_bytes)),
    };
    let now = Instant::now();
    let Audience {
        outlet,
        receiver,
        viewer,
        heartbeat,
    } = match resuming {
        None => {
            let (sender, receiver) = queue::gated(policy.queue, encoder, policy.gating);
            if merging.is_some() {
                sender.share_fairly();
            }
            live.add_viewer(Viewer {
                number: 1,
                queue: sender.probe(),
                reader: Arc::clone(&reader),
            });
            Audience {
                outlet: Outlet::Direct(sender),
                receiver,
                viewer: None,
                heartbeat,
            }
        }
        Some(resuming) => {
            let (hub, input) = hub_of(&live, resuming, encoder, status, subscribes);
            let visible = target
                .is_some_and(|target| target.statuses(policy.reply.statuses) == Statuses::Visible);
            let attached = hub.attach_first(now);
            live.add_viewer(Viewer {
                number: attached.number,
                queue: attached.probe,
                reader: Arc::clone(&reader),
            });
            let viewer = ViewerTask::new(ViewerParts {
                live: Arc::clone(&live),
                hub,
                number: attached.number,
                reader: Arc::clone(&reader),
                returned: None,
                heartbeat,
                stall: policy.deadlines.client_stall,
                // The stream itself ends before.
                total_at: now + policy.deadlines.total + policy.deadlines.client_stall,
            });
            Audience {
                outlet: Outlet::Shared(input),
                receiver: attached.receiver,
                viewer: Some(viewer),
                // Each viewer's task sends heartbeats, unless they are events.
                heartbeat: if visible { heartbeat } else { Duration::ZERO },
            }
        }
    };
    let pump = Pump::new(Parts {
        ingress: IngressParts {
            source,
            pipeline,
            started: sent,
            observer: Box::new(ReadCounts::new(Arc::clone(&live))),
            detaches: detaches.is_some(),
            wants_model: span.is_some() || metrics.gen_ai().is_some(),
        },
        egress: EgressParts {
            encoder,
            outlet,
            reader: if viewer.is_some() {
                Arc::new(Nobody)
            } else {
                reader
            },
            heartbeat,
        },
        lengths: match merging {
            None if subscribes => without_silence(lengths(&context)),
            None => lengths(&context),
            Some(_) => of_several(&context),
        },
        stop: Arc::clone(&live.stop),
    });
    let active = context.metrics.stream_active(framing);
    let preamble = encoder.preamble(policy.preamble_bytes);
    let info = StreamInfo::new(
        registration,
        detaches,
        active,
        status,
        span,
        Arc::clone(metrics),
    )
    .with_late_head(late_head)
    .asking_for(asked_model)
    .subscribing(subscribes)
    .recorded_in(recording.map(|recording| recording.outbox))
    .of_agents(merging.map(|merging| merging.board));
    let task = StreamTask::new(pump, info);
    Started {
        receiver,
        task: match viewer {
            None => Box::pin(task),
            Some(viewer) => {
                let both = WithViewer::new(task, viewer);
                Box::pin(match live.hub() {
                    Some(hub) => both.asked(&live, hub),
                    None => both,
                })
            }
        },
        preamble,
    }
}

/// Who receives a stream.
struct Audience {
    outlet: Outlet,
    receiver: Receiver,
    /// The task of the first of several viewers.
    viewer: Option<ViewerTask>,
    heartbeat: Duration,
}

/// The reader of a pump whose clients have tasks of their own.
#[derive(Debug)]
struct Nobody;

impl Reader for Nobody {
    fn last_progress(&self) -> Option<Instant> {
        None
    }
}

/// Creates the hub of a stream that clients can come back to, and lists it.
fn hub_of(
    live: &Arc<LiveStream>,
    mut resuming: Resuming,
    encoder: Encoder,
    status: StatusCode,
    subscribes: bool,
) -> (Arc<Hub>, hub::Input) {
    let policy = &live.context.route.policy;
    let settings = &resuming.settings;
    let (hub, input) = Hub::new(
        &live.id.to_string(),
        hub::Settings {
            bounds: Bounds {
                max_events: settings.max_events,
                max_bytes: settings.max_bytes,
            },
            limits: policy.queue,
            gating: policy.gating,
            max_viewers: settings.max_viewers,
            on_leave: match policy.on_disconnect {
                OnDisconnect::Cancel => OnLeave::Cancel,
                // It has no end of its own.
                OnDisconnect::Continue if subscribes => OnLeave::Cancel,
                OnDisconnect::Continue => OnLeave::Continue,
                OnDisconnect::Grace(grace) => OnLeave::Grace(grace),
            },
            ids: resuming.ids,
            has_agents: live.context.route.merge.is_some(),
        },
        encoder,
        Arc::clone(resuming.streams.budget()),
    );
    live.share(Arc::clone(&hub));
    let head = (status, resuming.headers.clone());
    let stream = Resumable::new(
        Arc::clone(live),
        Arc::clone(&hub),
        resuming.caller,
        head,
        settings.keep,
    );
    if let Some(body) = resuming.body {
        // Set once, here.
        let _ = stream.body.set(body);
    }
    let stream = Arc::new(stream);
    resuming.streams.add(&stream);
    for name in &resuming.names {
        resuming.streams.name(&stream, *name);
    }
    if let Some(storing) = resuming.storing.take() {
        hub.tap(stored::begin(
            storing,
            &stored::Kept {
                id: hub.name(),
                route: &live.context.route.name,
                settings,
                headers: &stream.headers,
                encoder,
                ids: resuming.ids,
                body: resuming.body,
                total: policy.deadlines.total,
            },
        ));
    }
    (hub, input)
}

/// An answer that is made of a stream is held as text, as everything else in as many bytes, and as it is written:
/// together no more than an event may take.
const WHOLE_SHARE: usize = 4;

/// Returns the Unix time in seconds.
pub(crate) fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Returns the deadlines of a stream of several agents. Each agent has deadlines of its own, so only the total one is
/// left.
fn of_several(context: &RequestContext) -> Lengths {
    without_silence(lengths(context))
}

/// Returns these deadlines without those of silence: the total one and the client's are left.
fn without_silence(lengths: Lengths) -> Lengths {
    let never = lengths.total.saturating_mul(2);
    Lengths {
        first_event: never,
        after_end: never,
        idle: never,
        progress: never,
        ..lengths
    }
}

/// Returns the deadlines of a stream.
pub(crate) fn lengths(context: &RequestContext) -> Lengths {
    let deadlines = &context.route.policy.deadlines;
    Lengths {
        first_event: deadlines.first_event,
        after_end: deadlines.after_end,
        idle: deadlines.idle,
        progress: deadlines.progress,
        total: deadlines.total,
        client_stall: deadlines.client_stall,
    }
}
