//! A stream that is kept in the store, too, so that its clients can come back to any instance.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use super::resumable::Name;
use super::stream_id::hex;
use crate::config::Resume;
use crate::dialect::Dialect;
use crate::encode::Encoder;
use crate::end::End;
use crate::event::Class;
use crate::hub::{ControlMessage, Ids, Tap};
use crate::metrics::Metrics;
use crate::queue::Close;
use crate::store::{Bounds, Control, Meta, RemoteState, Store, Watch, Writer};
use crate::wire::Framing;

/// Returns the name of a response of the Responses API whose id stands in the block of an event.
pub type ResponseName = Box<dyn Fn(&[u8]) -> Option<Name> + Send>;

/// Where a stream is kept, and what it can be asked for by there.
pub struct Storing {
    /// The store.
    pub store: Arc<Store>,
    /// The worker that runs the stream.
    pub worker: usize,
    /// The digest of the caller's credentials, with the key that all instances share.
    pub caller: [u8; 32],
    /// What it can be asked for by, with that digest.
    pub names: Vec<Name>,
    /// Reads the name of a response.
    pub response: ResponseName,
}

impl fmt::Debug for Storing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storing").finish_non_exhaustive()
    }
}

/// What else an instance must know to continue a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Extra {
    /// Which events have ids: `off`, `used`, `safe`.
    #[serde(default)]
    ids: String,
    /// The client gets a translation.
    #[serde(default)]
    is_translated: bool,
    /// The digest of the request's body.
    #[serde(default)]
    pub body: Option<String>,
}

impl Extra {
    /// Reads it from what is known of a stream. What cannot be read is taken for the defaults.
    pub fn of(meta: &Meta) -> Self {
        serde_json::from_str(&meta.extra).unwrap_or_default()
    }

    /// Returns which events have ids.
    pub fn ids(&self) -> Ids {
        match &*self.ids {
            "safe" => Ids::WhereSafe,
            "used" => Ids::WhereUsed,
            _ => Ids::Off,
        }
    }
}

/// Returns the encoder of a stream that another instance runs.
pub fn encoder(meta: &Meta) -> Encoder {
    let dialect = Dialect::parse(&meta.dialect).unwrap_or(Dialect::Opaque);
    let framings = [
        Framing::JsonArray,
        Framing::Lines,
        Framing::Ndjson,
        Framing::Raw,
        Framing::Sse,
    ];
    let framing = framings
        .into_iter()
        .find(|framing| framing.as_str() == meta.framing);
    let framing = framing.unwrap_or(Framing::Sse);
    if Extra::of(meta).is_translated {
        Encoder::translated(dialect, framing)
    } else {
        Encoder::identity(Some(dialect), framing)
    }
}

/// Returns a name as the store has it.
pub fn stored_name(name: &Name) -> String {
    hex(name)
}

/// The stream that is to be kept.
pub(super) struct Kept<'a> {
    pub(super) id: &'a str,
    pub(super) route: &'a str,
    pub(super) settings: &'a Resume,
    pub(super) headers: &'a HeaderMap,
    pub(super) encoder: Encoder,
    pub(super) ids: Ids,
    pub(super) body: Option<[u8; 32]>,
    /// The longest time that it can live.
    pub(super) total: Duration,
}

/// Begins to keep a stream.
pub(super) fn begin(storing: Storing, kept: &Kept<'_>) -> Box<dyn Tap> {
    let Kept {
        id,
        route,
        settings,
        headers,
        encoder,
        ids,
        body,
        total,
    } = *kept;
    let Storing {
        store,
        worker,
        caller,
        names,
        response,
    } = storing;
    let extra = Extra {
        ids: match ids {
            Ids::Off => "off",
            Ids::WhereUsed => "used",
            Ids::WhereSafe => "safe",
        }
        .to_owned(),
        is_translated: encoder.is_translated(),
        body: body.map(|body| hex(&body)),
    };
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let kind = headers.get(header::CONTENT_TYPE).and_then(text);
    let others = headers
        .iter()
        .filter(|(name, _)| *name != header::CONTENT_TYPE && *name != header::LOCATION);
    let meta = Meta {
        caller,
        route: route.to_owned(),
        dialect: encoder.dialect().as_str().to_owned(),
        framing: encoder.framing().as_str().to_owned(),
        content_type: kind.unwrap_or_default(),
        headers: others
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
            .collect(),
        owner: String::new(),
        state: RemoteState::Live,
        first: 1,
        last: 0,
        extra: serde_json::to_string(&extra).unwrap_or_default(),
    };
    let live = settings.keep + total;
    let bounds = Bounds {
        keep: settings.keep,
        live,
        max_events: settings.max_events,
        max_bytes: settings.max_bytes,
    };
    for name in &names {
        store.remember(worker, &stored_name(name), id, live);
    }
    let writer = store.open(worker, id, meta.clone(), bounds);
    Box::new(Stored {
        writer: Some(writer),
        meta,
        response: Some(response),
        seen: 0,
        store,
        worker,
        id: id.to_owned(),
        live,
        lengths: Vec::new(),
    })
}

/// A stream that is being kept.
struct Stored {
    /// `None` once the stream has ended.
    writer: Option<Writer>,
    meta: Meta,
    response: Option<ResponseName>,
    /// How many events were searched for the id of a response.
    seen: usize,
    store: Arc<Store>,
    worker: usize,
    id: String,
    live: Duration,
    /// Kept for the next read.
    lengths: Vec<(u8, u32)>,
}

/// How many events at the start of a response may contain its id.
const FIRST_EVENTS: usize = 3;

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Stored {
    fn look(&mut self, events: &[(Class, u32)], blocks: &[u8]) {
        let Some(response) = &self.response else {
            return;
        };
        let mut start = 0;
        for (_, len) in events {
            let end = start + *len as usize;
            let name = response(blocks.get(start..end).unwrap_or_default());
            start = end;
            self.seen += 1;
            if let Some(name) = &name {
                let name = stored_name(name);
                self.store.remember(self.worker, &name, &self.id, self.live);
            }
            if name.is_some() || self.seen == FIRST_EVENTS {
                self.response = None;
                return;
            }
        }
    }
}

impl Tap for Stored {
    fn append(&mut self, last: u64, events: &[(Class, u32)], blocks: &[u8]) {
        if self.response.is_some() {
            self.look(events, blocks);
        }
        self.lengths.clear();
        let lengths = events.iter().map(|(class, len)| (*class as u8, *len));
        self.lengths.extend(lengths);
        if let Some(writer) = &mut self.writer {
            writer.append(last, &self.lengths, blocks);
        }
    }

    fn describe(&mut self, encoder: Encoder) {
        encoder
            .dialect()
            .as_str()
            .clone_into(&mut self.meta.dialect);
        encoder
            .framing()
            .as_str()
            .clone_into(&mut self.meta.framing);
        if let Some(writer) = &mut self.writer {
            writer.update(self.meta.clone());
        }
    }

    fn end(&mut self, outcome: End, last: &[u8], how: Close) {
        if let Some(writer) = self.writer.take() {
            writer.end(outcome.as_str(), last, how == Close::Clean);
        }
    }

    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<ControlMessage> {
        let Some(writer) = &mut self.writer else {
            return Poll::Pending;
        };
        writer.poll_control(cx).map(|control| match control {
            Control::Stop => ControlMessage::Stop,
            Control::ViewerCame { instance } => ControlMessage::ViewerCame(instance.into()),
            Control::ViewerLeft { instance } => ControlMessage::ViewerLeft(instance.into()),
        })
    }
}

/// Returns the class that the store has a number for.
pub(super) fn class(number: u8) -> Class {
    let found = Class::ALL.into_iter().find(|class| *class as u8 == number);
    found.unwrap_or(Class::Error)
}

/// Counts what happens to the store.
#[derive(Debug)]
pub struct Counting {
    metrics: Arc<Metrics>,
    is_up: AtomicBool,
    has_key: AtomicBool,
}

impl Counting {
    /// Creates it for a store that has not been reached yet.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            is_up: AtomicBool::new(false),
            has_key: AtomicBool::new(false),
        }
    }

    /// Notes that the key is known that all instances share: without it nothing is stored.
    pub fn has_key(&self) {
        self.has_key.store(true, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        let usable = self.is_up.load(Ordering::Relaxed) && self.has_key.load(Ordering::Relaxed);
        self.metrics.resume.store_up(usable);
    }
}

impl Watch for Counting {
    fn up(&self, up: bool) {
        self.is_up.store(up, Ordering::Relaxed);
        self.show();
    }

    fn error(&self) {
        self.metrics.resume.store_errors.inc();
    }

    fn broken(&self) {
        self.metrics.resume.store_broken.inc();
    }
}
