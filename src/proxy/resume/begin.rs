//! What is remembered of a request whose stream its client may come back to.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, header, request};

use super::caller::{Caller, CallerKey, shows_credentials};
use super::chats::{ChatId, ChatSniff};
use super::far::Claim;
use super::idempotency::Fingerprinting;
use super::names::{Kind, name};
use super::responses;
use crate::app::App;
use crate::config;
use crate::hub::Ids;
use crate::proxy::Peer;
use crate::session::Resuming;
use crate::session::resumable::{Name, Reservation};
use crate::session::stored::Storing;

/// What is remembered of a request, until its stream begins.
#[derive(Debug)]
pub(in crate::proxy) struct Begin {
    settings: Arc<config::Resume>,
    route: Arc<str>,
    pub(super) caller: Caller,
    /// The caller with the key that all instances share; `None` if there are no others, or the key is not known yet.
    pub(super) shared: Option<Caller>,
    /// The path with its query.
    target: Box<str>,
    worker: usize,
    ids: Ids,
    path: Name,
    chat: Option<ChatSniff>,
    pub(super) key: Option<Key>,
}

/// The idempotency key of a request.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: Name,
    /// The name as other instances know it.
    pub(super) shared: Option<Name>,
    pub(super) fingerprinting: Fingerprinting,
    /// Makes other instances wait.
    pub(super) claim: Claim,
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
        peer: &Peer,
        parts: &request::Parts,
    ) -> Self {
        let certificate = peer.certificate.as_ref();
        let digest = |key: &[u8; 32]| {
            CallerKey::new(key).digest(&parts.headers, &settings.bind, certificate)
        };
        let own_key = app.resumables.key();
        let caller = digest(own_key);
        // Another one only if streams have begun here before the shared key was known.
        let shared = app.resumables.shared_key();
        let shared = shared.map(|key| {
            if key == *own_key {
                caller
            } else {
                digest(&key)
            }
        });
        let is_named = if certificate.is_none() {
            caller.has_credentials()
        } else {
            shows_credentials(&parts.headers, &settings.bind)
        };
        let target = parts.uri.path_and_query();
        let target = target.map_or("", http::uri::PathAndQuery::as_str);
        let target = if is_named {
            target.to_owned()
        } else {
            format!("{target}\n{}", origin(peer.origin.client, &parts.headers))
        };
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
            path: name(Kind::Path, &route.name, &caller, &target),
            chat: chats
                .filter(|_| parts.method != Method::GET)
                .map(ChatSniff::new),
            key: None,
            shared,
            target: target.into(),
            worker: peer.worker,
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

    /// Returns the name of this kind as other instances know it.
    pub(super) fn shared_name(&self, kind: Kind, value: &str) -> Option<Name> {
        let caller = self.shared.as_ref()?;
        Some(name(kind, &self.route, caller, value))
    }

    /// Returns the name of the streams that answered the same request, as other instances know it.
    pub(super) fn shared_path(&self) -> Option<Name> {
        self.shared_name(Kind::Path, &self.target)
    }

    /// Returns where the stream is kept for other instances, if it is.
    fn storing(&self, app: &App, chat: Option<&ChatId>) -> Option<Storing> {
        let (store, caller) = (app.store.as_ref()?, self.shared.as_ref()?);
        let chat = chat.and_then(|id| self.shared_name(Kind::Chat, id.as_str()));
        let key = self.key.as_ref().and_then(|key| key.shared);
        let (route, of) = (Arc::clone(&self.route), *caller);
        Some(Storing {
            store: Arc::clone(store),
            worker: self.worker,
            caller: *caller.as_bytes(),
            names: [self.shared_path(), chat, key]
                .into_iter()
                .flatten()
                .collect(),
            response: Box::new(move |block| {
                let id = responses::id_in(block)?;
                Some(name(Kind::Responses, &route, &of, &id))
            }),
        })
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
    pub(in crate::proxy) fn resuming(&mut self, app: &App, headers: &HeaderMap) -> Resuming {
        if let Some(key) = &mut self.key {
            key.claim.keep();
        }
        let chat = self.chat.as_ref().and_then(ChatSniff::id);
        let storing = self.storing(app, chat.as_ref());
        let chat = chat.map(|id| self.name(Kind::Chat, id.as_str()));
        let key = self.key.as_ref().map(|key| key.name);
        let responses = self.name(Kind::Responses, "");
        let names = [Some(self.path), Some(responses), chat, key];
        Resuming {
            streams: Arc::clone(&app.resumables),
            caller: *self.caller.as_bytes(),
            headers: {
                let mut headers = headers.clone();
                // They are for the client of the first response, and must not be stored.
                headers.remove(header::SET_COOKIE);
                headers
            },
            ids: self.ids,
            settings: Arc::clone(&self.settings),
            names: names.into_iter().flatten().collect(),
            storing,
            body: (self.key.as_ref()).map(|key| *key.fingerprinting.fingerprint().as_bytes()),
        }
    }
}

/// Returns what tells clients without credentials apart where an upstream's own event id is all that they come back
/// with. Such ids are often small numbers, which another client may have, too.
fn origin(client: Option<IpAddr>, headers: &HeaderMap) -> String {
    let text = |name: &str| {
        let values = headers.get_all(name).iter();
        let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        texts.collect::<Vec<_>>().join(",")
    };
    let client = client.map(|client| client.to_string());
    [
        client.unwrap_or_default(),
        text("x-forwarded-for"),
        text("forwarded"),
        text("user-agent"),
    ]
    .join("\n")
}

/// Reports whether the client is an `EventSource`, or behaves like one: it sends the last id back, whatever the events
/// are.
fn is_event_source(parts: &request::Parts) -> bool {
    let mut accepted = parts.headers.get_all(header::ACCEPT).iter();
    parts.method == Method::GET
        && accepted.any(|value| {
            let text = value.to_str().unwrap_or_default();
            text.to_ascii_lowercase().contains("text/event-stream")
        })
}
