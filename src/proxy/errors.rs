//! Answers of Weir's own, before any stream: a real status and a body in the client's dialect.

use http::{HeaderValue, Response, StatusCode, header};

use crate::dialect::{self, Dialect, Members};
use crate::reply::body::Body;
use crate::upstream::Error;

/// An error response to a request whose body has `members`.
pub(super) fn response(
    dialect: Option<Dialect>,
    members: &Members,
    status: StatusCode,
    code: &str,
    message: &str,
) -> Response<Body> {
    let (content_type, bytes) = dialect::refusal(dialect, members, status.as_u16(), code, message);
    let mut response = Response::new(Body::fixed(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Another instance, or this one in a moment.
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The response for a call that failed.
pub(super) fn upstream(
    dialect: Option<Dialect>,
    members: &Members,
    error: &Error,
) -> Response<Body> {
    let status = match error {
        Error::Connect { .. }
        | Error::Dns { .. }
        | Error::Protocol { .. }
        | Error::Reset { .. }
        | Error::Tls { .. } => StatusCode::BAD_GATEWAY,
        Error::ConnectTimeout { .. }
        | Error::FirstEventTimeout { .. }
        | Error::HeadTimeout { .. }
        | Error::TotalTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        Error::RequestAborted => StatusCode::BAD_REQUEST,
        Error::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Error::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    };
    response(dialect, members, status, error.code(), &error.to_string())
}
