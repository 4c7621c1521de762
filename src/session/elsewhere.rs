//! A client that has come back to a stream that another instance runs, or ran: it follows the stream in the store.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::follow::Follow;
use super::registry::{LiveStream, Viewer};
use super::resumable::FarViewer;
use super::start::Started;
use super::stored::{self, Extra};
use super::stream_id::StreamId;
use super::viewer::{ViewerParts, ViewerTask, WithViewer};
use crate::config::Resume;
use crate::dialect::ErrorContext;
use crate::end::End;
use crate::event::Event;
use crate::hub::{self, Budget, Hub, OnLeave};
use crate::journal::Bounds;
use crate::queue::{Close, Limits, Offer, Overflow};
use crate::store::{Control, Followed, Follower, Meta, RemoteState, Store};
use crate::tasks;

/// What is read ahead of a slow client, in events and bytes.
const AHEAD: Bounds = Bounds {
    max_events: 1024,
    max_bytes: 256 * 1024,
};

/// How often the instance that runs a stream is told that a client follows it here. It takes a client for gone of which
/// it has heard nothing for [`hub::ELSEWHERE_FOR`].
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A stream that another instance runs, or ran.
#[derive(Debug)]
pub struct Elsewhere<'a> {
    /// The store.
    pub store: &'a Arc<Store>,
    /// The worker that serves the client.
    pub worker: usize,
    /// The id of the stream.
    pub id: StreamId,
    /// What is known of it.
    pub meta: &'a Meta,
    /// The settings of the route.
    pub settings: &'a Resume,
    /// The memory of all journals.
    pub budget: &'a Arc<Budget>,
}

impl Elsewhere<'_> {
    /// Attaches a client to the stream. `counted` counts it.
    pub fn follow(&self, follow: Follow, counted: FarViewer) -> Started {
        let Follow { returned, reader } = follow;
        let now = Instant::now();
        let context = Arc::clone(&returned.context);
        let policy = &context.route.policy;
        let id = self.id.to_string();
        let encoder = stored::encoder(self.meta);
        let (hub, input) = Hub::after(
            returned.after,
            &id,
            hub::Settings {
                bounds: AHEAD,
                limits: Limits {
                    // The store has everything: what a slow client has not taken waits there.
                    overflow: Overflow::Block,
                    ..policy.queue
                },
                gating: policy.gating,
                max_viewers: 1,
                on_leave: OnLeave::Cancel,
                ids: Extra::of(self.meta).ids(),
                // Nothing is dropped.
                has_agents: false,
            },
            encoder,
            Arc::clone(self.budget),
        );
        let attached = hub.attach_first_after(returned.after, now);
        let live = Arc::new(LiveStream::elsewhere(self.id, &context));
        live.add_viewer(Viewer {
            number: attached.number,
            queue: attached.probe,
            reader: Arc::clone(&reader),
        });
        let task = FollowTask {
            follower: self.store.follow(self.worker, &id, returned.after),
            input,
            waiting: VecDeque::new(),
            seen: 0,
            store: Arc::clone(self.store),
            live: Arc::clone(&live),
            name: format!("{}/{}", self.store.instance(), StreamId::random()),
            next: Box::pin(sleep_until(now)),
            id,
            is_over: false,
            _counted: counted,
        };
        let viewer = ViewerTask::new(ViewerParts {
            live,
            hub,
            number: attached.number,
            reader,
            returned: Some(returned),
            heartbeat: policy.heartbeat,
            stall: policy.deadlines.client_stall,
            total_at: now + policy.deadlines.total,
        });
        Started {
            receiver: attached.receiver,
            task: Box::pin(WithViewer::new(task, viewer)),
            preamble: encoder.preamble(policy.preamble_bytes),
        }
    }

    /// Returns the headers of the response that the first client got.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let kind = ("content-type".to_owned(), self.meta.content_type.clone());
        for (name, value) in self.meta.headers.iter().chain([&kind]) {
            if let (Ok(name), Ok(value)) = (
                http::HeaderName::from_bytes(name.as_bytes()),
                http::HeaderValue::from_str(value),
            ) {
                headers.append(name, value);
            }
        }
        headers
    }
}

/// Copies a stream from the store to the queue of a client.
struct FollowTask {
    follower: Follower,
    input: hub::Input,
    /// What was read and has no room yet.
    waiting: VecDeque<(u64, u8, Bytes)>,
    /// How many takes of the client were seen.
    seen: u64,
    store: Arc<Store>,
    /// Learns how the stream has ended.
    live: Arc<LiveStream>,
    id: String,
    /// The name of the client among all viewers of the stream.
    name: String,
    /// When the instance that runs the stream is told again that the client follows it.
    next: Pin<Box<Sleep>>,
    is_over: bool,
    _counted: FarViewer,
}

impl FollowTask {
    /// Tells the instance that runs the stream. Nobody waits for it.
    fn tell(&self, what: Control) {
        if Handle::try_current().is_ok() {
            let (store, id) = (Arc::clone(&self.store), self.id.clone());
            tasks::spawn(async move {
                // A stream that is over has nobody to be told.
                let _ = store.ask(&id, what).await;
            });
        }
    }

    /// Hands on what was read. Returns whether all of it had room.
    fn push(&mut self, now: Instant) -> bool {
        if self.waiting.is_empty() {
            return true;
        }
        let mut pushing = self.input.pushing(0, now);
        while let Some((_, class, block)) = self.waiting.front() {
            let event = Event::bare(stored::class(*class));
            if pushing.push(block, &event) != Offer::Accepted {
                break;
            }
            self.waiting.pop_front();
        }
        pushing.done();
        self.waiting.is_empty()
    }

    /// Ends the client's stream. A failure of the store, or of the instance that ran the stream, is told.
    fn close(&self, followed: &Followed, now: Instant) {
        let (end, message) = match followed {
            Followed::Events(_) => return,
            Followed::Ended { outcome, clean } => {
                let known = End::ALL.into_iter().find(|end| end.as_str() == outcome);
                self.live.ended(known.unwrap_or(End::Truncated));
                let how = if *clean { Close::Clean } else { Close::Abort };
                self.input.close(how, None, now);
                return;
            }
            Followed::Gap { .. } => (
                "resume_gap",
                "resume_gap: events of the stream were not stored; what follows is lost",
            ),
            Followed::OwnerGone => (
                End::UpstreamReset.as_str(),
                "upstream_reset: the instance that ran this stream is gone",
            ),
            Followed::Down => (
                "resume_unavailable",
                "resume_unavailable: the store of the streams does not answer, come back later",
            ),
        };
        self.live.ended(if matches!(followed, Followed::OwnerGone) {
            End::UpstreamReset
        } else {
            End::Truncated
        });
        let encoder = self.input.hub().encoder();
        let last = encoder.failure(&ErrorContext::default(), end, message);
        let how = if last.is_some() {
            Close::Clean
        } else {
            Close::Abort
        };
        self.input.close_untold(how, last.as_deref(), now);
    }

    fn poll_to_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            if self.input.gone(now).is_some() {
                return Poll::Ready(());
            }
            if self.next.as_mut().poll(cx).is_ready() {
                self.tell(Control::ViewerCame {
                    instance: self.name.clone(),
                });
                self.next.as_mut().reset(now + TELL_EVERY);
                continue;
            }
            let has_room = self.push(now);
            // Registers before it looks again, so that nothing is missed.
            if self
                .input
                .poll_change(cx, &mut self.seen, !has_room)
                .is_ready()
            {
                continue;
            }
            if !has_room {
                return Poll::Pending;
            }
            match self.follower.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Followed::Events(events)) => self.waiting.extend(events),
                Poll::Ready(end) => {
                    self.close(&end, now);
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl Future for FollowTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(());
        }
        let polled = tasks::contained(|| this.poll_to_end(cx)).unwrap_or(Poll::Ready(()));
        this.is_over = polled.is_ready();
        polled
    }
}

impl Drop for FollowTask {
    fn drop(&mut self) {
        self.tell(Control::ViewerLeft {
            instance: self.name.clone(),
        });
    }
}

/// Where in a stream something is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// How long to wait for what the client got last: it may still be on its way to the store.
    pub timeout: Duration,
    /// Whatever is found is what was looked for.
    pub is_exact: bool,
}

/// Returns the number of the last event of a stream in the store that is not behind a position, reading from the oldest
/// on. `compare` says where an event is, if the event says it; nothing is read beyond the position. `None` if there is
/// none.
pub async fn position(
    elsewhere: &Elsewhere<'_>,
    search: Search,
    mut compare: impl FnMut(&[u8]) -> Option<Ordering>,
) -> Option<u64> {
    let meta = elsewhere.meta;
    let id = elsewhere.id.to_string();
    let mut last = meta.first.saturating_sub(1);
    let mut follower = (elsewhere.store).follow(elsewhere.worker, &id, last);
    let (mut found, mut until) = (None, None);
    loop {
        let next = poll_fn(|cx| follower.poll_next(cx));
        let next = if last < meta.last {
            next.await
        } else if meta.state != RemoteState::Live || (search.is_exact && found.is_some()) {
            break;
        } else {
            let until = *until.get_or_insert_with(|| Instant::now() + search.timeout);
            match timeout_at(until, next).await {
                Ok(next) => next,
                Err(_) => break,
            }
        };
        let Followed::Events(events) = next else {
            break;
        };
        for (seq, _, block) in events {
            last = seq;
            match compare(&block) {
                Some(Ordering::Less) => found = Some(seq),
                Some(Ordering::Equal) => return Some(seq),
                Some(Ordering::Greater) => return found,
                None => {}
            }
        }
    }
    found
}
