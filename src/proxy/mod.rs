//! Handles one request, in phases:
//!
//! ```text
//! admit ──────► prepare ──────► call ─────────► answer ─────────► account
//! checks the    builds the      calls the       starts a stream   counts, and
//! head          upstream call   upstream        or passes through records times
//!   │             │               │               │
//!   └─────────────┴───────────────┴───────────────┴──► reject: refuses it, in the name of Weir itself
//! ```
//!
//! `reject` is the only function that refuses a request. Input that never became a request (400, 408, 414, 431) is
//! answered in `server::refusal`.

mod accounting;
mod admit;
mod admitted;
mod answer;
mod arrived;
mod body_sniff;
mod bridge;
mod bridged;
mod call;
mod choose_reply;
mod detach;
mod head_limits;
mod interim;
mod loops;
mod merge;
mod metadata;
mod own_answer;
mod plain_response;
mod prepare;
mod probe;
mod reject;
mod request_span;
mod response_kind;
mod resume;
mod rewrite;
mod unstream;
mod upgrade_request;
mod validate;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::client_conn::ClientConn;
use crate::reply::body::Body;
use crate::tasks;
use crate::upstream::Payload;
use crate::upstream::request::Origin;
use accounting::Phase;
use admitted::Admitted;
use prepare::Prepared;
use reject::Rejection;

pub use arrived::Arrived;
pub(crate) use response_kind::framing as stream_framing;
#[doc(hidden)]
pub use resume::resume_request;

/// The client of a request, and the worker that serves it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The origin, for the `X-Forwarded-*` headers.
    pub origin: Origin,
    /// The worker that serves the connection.
    pub worker: usize,
    /// The client's connection.
    pub conn: Arc<ClientConn>,
    /// The digest of the certificate that the client has shown, if the listener asks for one.
    pub certificate: Option<[u8; 32]>,
}

/// Handles one request, and returns the response.
pub async fn serve(app: &Arc<App>, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    // Shared with the call, which may continue when the client leaves.
    let under_way = Arc::new(app.request(peer.worker));
    let open = peer.conn.request(request.version() == Version::HTTP_2);
    let (mut parts, incoming) = request.into_parts();
    let own = head_limits::refuse(app, peer, &parts, started).or_else(|| {
        upgrade_request::recognize(&mut parts, incoming.is_end_stream());
        probe::answer(app, peer, &mut parts, started)
    });
    let answered = match own {
        Some(response) => Some(response),
        None => resume::endpoint::answer(app, peer, &mut parts, started).await,
    };
    let mut response = match answered {
        Some(response) => response,
        None => match admit::admit(
            app,
            peer,
            &mut parts,
            started,
            &under_way,
            |parts, status| resume::come_back(app, parts, status),
        ) {
            Ok(admitted) => {
                let payload = Payload::Incoming(incoming);
                forward(app, peer, admitted, parts, payload).await
            }
            Err(rejected) => *rejected,
        },
    };
    if response.body().is_fixed()
        && let Some(deadline) = BodyDeadline::current()
    {
        // Weir's own response: on a shared connection nothing else ends it if the client does not take it.
        let limit = app.loaded().config.limits.request_head;
        deadline.begin(Instant::now() + limit, limit);
    }
    let body = std::mem::replace(response.body_mut(), Body::fixed(Bytes::new()));
    response.map(|_| body.over(Arc::clone(&peer.conn)).holding((under_way, open)))
}

/// Handles a request of a bridge, whose client has sent all of it.
async fn ask(
    app: &Arc<App>,
    peer: &Peer,
    mut parts: request::Parts,
    body: Bytes,
) -> Response<Body> {
    let started = Instant::now();
    let under_way = Arc::new(app.request(peer.worker));
    let open = peer.conn.request(false);
    let response = match head_limits::refuse(app, peer, &parts, started) {
        Some(refused) => refused,
        None => match admit::admit(app, peer, &mut parts, started, &under_way, |_, _| None) {
            Ok(admitted) => forward(app, peer, admitted, parts, Payload::Whole(body)).await,
            Err(rejected) => *rejected,
        },
    };
    response.map(|body| body.holding((under_way, open)))
}

/// Forwards an admitted request, and returns the response.
async fn forward(
    app: &Arc<App>,
    peer: &Peer,
    mut admitted: Admitted,
    parts: request::Parts,
    incoming: Payload,
) -> Response<Body> {
    if bridge::takes(&admitted) {
        return bridge::open(app, peer, admitted, &parts);
    }
    let mut incoming = Some(incoming);
    let unanswered = accounting::leaving(app, &admitted, Phase::Prepare);
    let mut resuming = None;
    let returned = if admitted.websocket.is_some() {
        // There is nothing that a client could come back to.
        None
    } else {
        let (incoming, resuming) = (&mut incoming, &mut resuming);
        resume::ways::answer(app, peer, &mut admitted, &parts, incoming, resuming).await
    };
    if let Some(response) = returned {
        unanswered.forget();
        let entered = Arc::clone(&admitted.entered);
        return response.map(|body| body.holding((entered, incoming)));
    }
    let Some(incoming) = incoming else {
        unanswered.forget();
        return admitted.reject(app, &Rejection::cut_off());
    };
    if admitted.context.route.merge.is_some() {
        unanswered.forget();
        // A future of its own: it is large, and most requests have one agent.
        return Box::pin(merge::forward(
            app, peer, admitted, resuming, parts, incoming,
        ))
        .await;
    }
    let prepared = prepare::prepare(
        app,
        peer,
        &mut admitted,
        resuming.as_deref(),
        parts,
        incoming,
    )
    .await;
    unanswered.forget();
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(rejection) => return admitted.reject(app, &rejection),
    };
    let Prepared {
        calling,
        total_at,
        received,
    } = prepared;
    let leaving = accounting::leaving(app, &admitted, Phase::Call);
    let entered = Arc::clone(&admitted.entered);
    tasks::rehearse_defect(|| "request".to_owned());
    let outcome = call::call(app, &admitted, calling, total_at).await;
    let response = answer::answer(app, &peer.conn, admitted, resuming, outcome, leaving).await;
    response.map(|body| body.after(received).holding(entered))
}
