//! What is remembered of a request whose stream its client may come back to.

use std::sync::Arc;

use http::{HeaderMap, Method, header, request};

use super::caller::{Caller, CallerKey};
use super::chats::ChatSniff;
use super::idempotency::Fingerprinting;
use super::names::{Kind, name};
use crate::app::App;
use crate::config;
use crate::hub::Ids;
use crate::session::Resuming;
use crate::session::resumable::{Name, Reservation};

/// What is remembered of a request, until its stream begins.
#[derive(Debug)]
pub(in crate::proxy) struct Begin {
    settings: Arc<config::Resume>,
    route: Arc<str>,
    pub(super) caller: Caller,
    ids: Ids,
    path: Name,
    chat: Option<ChatSniff>,
    pub(super) key: Option<Key>,
}

/// The idempotency key of a request.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: Name,
    pub(super) fingerprinting: Fingerprinting,
    /// Makes a second request wait until the stream of the first has begun.
    pub(super) _reservation: Reservation,
}

/// A callback for each piece of a request body.
type Listener = Box<dyn FnMut(&[u8]) + Send>;

impl Begin {
    /// Creates it for a request of a route whose streams can be resumed.
    pub(super) fn of(
        app: &App,
        route: &config::Route,
        settings: &Arc<config::Resume>,
        parts: &request::Parts,
    ) -> Self {
        let key = CallerKey::new(app.resumables.key());
        let caller = key.digest(&parts.headers, &settings.bind, None);
        let target = parts.uri.path_and_query();
        let target = target.map_or("", http::uri::PathAndQuery::as_str);
        let chats = settings.chats.as_ref();
        Self {
            settings: Arc::clone(settings),
            route: Arc::clone(&route.name),
            ids: match settings.ids {
                config::Ids::Off => Ids::Off,
                config::Ids::All => Ids::WhereSafe,
                config::Ids::Auto if is_event_source(parts) => Ids::WhereSafe,
                config::Ids::Auto => Ids::WhereUsed,
            },
            path: name(Kind::Path, &route.name, &caller, target),
            chat: chats
                .filter(|_| parts.method != Method::GET)
                .map(ChatSniff::new),
            key: None,
            caller,
        }
    }

    /// Returns the name of the streams that answered the same request.
    pub(super) const fn path(&self) -> &Name {
        &self.path
    }

    /// Returns the name of this kind, for this route and caller.
    pub(super) fn name(&self, kind: Kind, value: &str) -> Name {
        name(kind, &self.route, &self.caller, value)
    }

    /// Returns a listener for the body, as the client sent it; `None` if nothing in it matters.
    pub(in crate::proxy) fn listener(&self) -> Option<Listener> {
        let mut chat = self.chat.as_ref().map(ChatSniff::listener);
        let mut key = (self.key.as_ref()).map(|key| key.fingerprinting.listener());
        if chat.is_none() && key.is_none() {
            return None;
        }
        Some(Box::new(move |piece| {
            if let Some(listener) = &mut chat {
                listener(piece);
            }
            if let Some(listener) = &mut key {
                listener(piece);
            }
        }))
    }

    /// Returns how clients come back to the stream that begins with these headers.
    pub(in crate::proxy) fn resuming(&self, app: &App, headers: &HeaderMap) -> Resuming {
        let chat = self.chat.as_ref().and_then(ChatSniff::id);
        let chat = chat.map(|id| self.name(Kind::Chat, id.as_str()));
        let key = self.key.as_ref().map(|key| key.name);
        let responses = self.name(Kind::Responses, "");
        let names = [Some(self.path), Some(responses), chat, key];
        Resuming {
            streams: Arc::clone(&app.resumables),
            caller: *self.caller.as_bytes(),
            headers: headers.clone(),
            ids: self.ids,
            settings: Arc::clone(&self.settings),
            names: names.into_iter().flatten().collect(),
            body: (self.key.as_ref()).map(|key| *key.fingerprinting.fingerprint().as_bytes()),
        }
    }
}

/// Reports whether the client is an `EventSource`, or behaves like one: it sends the last id back, whatever the events are.
fn is_event_source(parts: &request::Parts) -> bool {
    let mut accepted = parts.headers.get_all(header::ACCEPT).iter();
    parts.method == Method::GET
        && accepted.any(|value| {
            let text = value.to_str().unwrap_or_default();
            text.to_ascii_lowercase().contains("text/event-stream")
        })
}
