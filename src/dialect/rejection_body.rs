//! Error responses for failures that are known before the head is sent: a real status code, and a
//! body in the client's dialect.

use bytes::Bytes;
use http::StatusCode;

use super::Dialect;
use super::object::Object;
use super::request::Members;
use super::spec::Refusal;

/// Returns the content type and the body of the error response to a request whose body has
/// `members`.
pub fn refusal(
    dialect: Option<Dialect>,
    members: &Members,
    status: u16,
    code: &str,
    message: &str,
) -> (&'static str, Bytes) {
    let refusal = Refusal {
        status,
        code,
        message,
    };
    match dialect.and_then(|dialect| dialect.spec().refusal) {
        Some(write) => ("application/json", write(&refusal, members).into()),
        None => ("application/problem+json", problem(&refusal).into()),
    }
}

/// Returns a problem details object (RFC 9457).
fn problem(refusal: &Refusal<'_>) -> String {
    let title = StatusCode::from_u16(refusal.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    Object::new()
        .text("type", "about:blank")
        .text("title", title)
        .number("status", refusal.status.into())
        .text("detail", refusal.message)
        .text("code", refusal.code)
        .end()
}
