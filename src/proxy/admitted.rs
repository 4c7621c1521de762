//! A request between its admission and its response.

use std::sync::Arc;

use http::{Method, Response, Version};

use super::body_sniff::BodySniff;
use super::reject::{Counted, Rejected, Rejection, reject};
use super::upgrade_request::UpgradeRequest;
use crate::app::{App, Loaded};
use crate::capacity::Entered;
use crate::dialect::{Choice, Dialect, Members, detect};
use crate::reply::body::Body;
use crate::session::detached::Detachable;
use crate::session::{AskedModel, RequestContext, accounting};
use crate::traces::Span;
use crate::translate::Target;

/// A request that has been admitted, with its route.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Counts the request towards `limits.max_requests`, until its response was sent and its call has ended.
    pub(super) entered: Arc<Entered>,
    pub(super) context: Arc<RequestContext>,
    /// The configuration that was in force when the request arrived.
    pub(super) loaded: Arc<Loaded>,
    /// The dialect that the route sets or the head of the request indicates.
    pub(super) hint: Option<Dialect>,
    /// What the body of the request says, if that matters.
    pub(super) sniff: Option<BodySniff>,
    /// The model that the request asks for, if metrics name it.
    pub(super) asked_model: Option<AskedModel>,
    /// Lets the upstream call continue when the client leaves; `None` if it is cancelled.
    pub(super) detaches: Option<Detachable>,
    /// The head of the request subscribes: its stream may be silent for as long as it lasts.
    pub(super) subscribes: bool,
    /// The request's path says that its stream is one reply of a model and nothing else.
    pub(super) single_reply: bool,
    /// What its stream is translated to; `None` if it keeps its dialect.
    pub(super) target: Option<Target>,
    /// The client asks for no stream, and gets one answer made of the agent's stream.
    pub(super) aggregates: bool,
    /// The head of the request asks for a stream.
    pub(super) accepts_stream: bool,
    /// The client asks for a WebSocket.
    pub(super) websocket: Option<UpgradeRequest>,
    /// The span, if spans are exported, until it is handed on.
    pub(super) span: Option<Span>,
    pub(super) version: Version,
}

impl Admitted {
    /// Reports whether the request asks only for a head.
    pub(super) fn is_head(&self) -> bool {
        self.context.method == Method::HEAD
    }

    /// Returns the dialect that the request asks for, as far as the request has been read.
    pub(super) fn asked_for(&self) -> Option<Dialect> {
        match (&self.sniff, self.context.route.policy.dialect) {
            (Some(sniff), Choice::Auto) => detect::from_body(&sniff.members(), self.hint),
            _ => self.hint,
        }
    }

    /// Returns the dialect that the agent is expected to speak. A client that gets a translation may ask in its own
    /// dialect, which says nothing about the agent's.
    pub(super) fn expected(&self) -> Option<Dialect> {
        let own = self.target.map(Target::dialect);
        self.asked_for().filter(|dialect| own != Some(*dialect))
    }

    /// Reads what matters in a body that is complete.
    pub(super) fn hear(&self, body: &[u8]) {
        if let Some(mut listener) = self.sniff.as_ref().map(BodySniff::listener) {
            listener(body);
        }
        if let Some(mut listener) = self.asked_model.as_ref().map(AskedModel::listener) {
            listener(body);
        }
    }

    /// Returns what the request says about its stream, as far as its body has been read.
    pub(super) fn members(&self) -> Members {
        let members = self.sniff.as_ref().map(BodySniff::members);
        let mut members = members.unwrap_or_default();
        if self.single_reply {
            members.note_single_reply();
        }
        if self.subscribes {
            members.note_subscription();
        }
        members
    }

    /// Reports whether the client expects a stream: it says so in the head or in the body, or its dialect always
    /// responds with a stream.
    pub(super) fn awaits_stream(&self) -> bool {
        let asks = self.members().asks_for_stream();
        let is_post = self.context.method == Method::POST;
        match (self.context.route.policy.dialect, asks) {
            _ if self.accepts_stream => true,
            (_, Some(asks)) => asks,
            (Choice::Fixed(dialect), None) => is_post && !dialect.streams_on_request(),
            (Choice::Auto, None) => {
                is_post && self.asked_for().is_some_and(Dialect::always_streams)
            }
        }
    }

    /// Responds to the request with an error of Weir itself.
    pub(super) fn reject(&mut self, app: &App, rejection: &Rejection) -> Response<Body> {
        let span = self.span.take();
        let context = &*self.context;
        let (code, status) = (rejection.code, rejection.status);
        // What only the client did wrong is no failure, and could be sent in any number.
        if status.is_server_error() {
            let ended = accounting::rejected(context, code, status);
            app.streams.recent.note(ended);
        }
        let request = Rejected {
            identity: &context.identity,
            method: &context.method,
            path: &context.path,
            client: context.client,
            started: context.started,
            version: self.version,
            dialect: (self.target.map(Target::dialect)).or_else(|| self.asked_for()),
            members: self.members(),
            counted: Counted::Route(context),
            answer: None,
            span,
        };
        reject(request, rejection)
    }
}
