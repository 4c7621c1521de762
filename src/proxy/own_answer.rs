//! A whole response of Weir's own, for a request that gets neither a stream nor what its agent answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::reply::body::Body;
use crate::session::identity::REQUEST_ID;

/// What such a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// Returns the response to the request with this id.
    pub(super) fn into_response(self, request_id: &HeaderValue) -> Response<Body> {
        let Self {
            status,
            headers,
            body,
        } = self;
        let mut response = Response::new(Body::fixed(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        (response.headers_mut()).insert(REQUEST_ID, request_id.clone());
        response
    }
}
