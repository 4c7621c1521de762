//! A request between the protocol engine, which has read its head, and its service.
//!
//! The engine drops a request before it is served if it notices in the same moment that the client has left. Such a
//! request has a line in the log, too.

use std::net::IpAddr;

use http::Request;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::accounting::unanswered;
use super::admit;
use crate::end::End;
use crate::session::identity::Identity;
use crate::session::request_line::{Grade, RequestLine};

/// A request that is logged if it is dropped before it is served.
#[derive(Debug)]
pub struct Arrived {
    request: Option<Request<Incoming>>,
    client: Option<IpAddr>,
}

impl Arrived {
    /// Takes a request whose head was read. `client` is the address of its client, if it has one.
    pub const fn new(request: Request<Incoming>, client: Option<IpAddr>) -> Self {
        Self {
            request: Some(request),
            client,
        }
    }

    /// Returns the request, to serve it; `None` if it was returned before. Whoever has it logs it.
    pub const fn take(&mut self) -> Option<Request<Incoming>> {
        self.request.take()
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let Some(mut request) = self.request.take() else {
            return;
        };
        // Only the id and the trace are read from the headers.
        let identity = Identity::of(request.headers_mut());
        unanswered(RequestLine {
            identity: &identity,
            route: None,
            client: self.client,
            method: Some(request.method()),
            path: Some(&admit::shown(request.uri().path())),
            started: Instant::now(),
            outcome: End::ClientGone.as_str(),
            code: None,
            status: None,
            bytes: None,
            cause: None,
            grade: Grade::Info,
        });
    }
}
