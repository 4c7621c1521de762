//! Rewrites the body of a request for the agent, where the route says so: translates it, and makes it ask for a stream.

use http::{HeaderValue, Method, StatusCode, header, request};

use super::admitted::Admitted;
use super::body_sniff;
use super::reject::Rejection;
use crate::dialect::Dialect;
use crate::request_map::{self, RequestForm, Unmappable};
use crate::upstream::{Error, RequestBody};

/// What is done with the body of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewriting {
    /// The form that it is translated from.
    form: Option<RequestForm>,
    /// The new body asks for a stream, whatever the client asks for.
    streams: bool,
    /// The request may have the member `stream_options`.
    takes_stream_options: bool,
}

/// Why a body cannot be rewritten.
enum Refused {
    Body(Error),
    Unmappable(Unmappable),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Body(error)
    }
}

impl Rewriting {
    /// Returns what the route does with the body of this request.
    pub(super) fn of(admitted: &Admitted, parts: &request::Parts) -> Self {
        let policy = &admitted.context.route.policy;
        let is_post = parts.method == Method::POST;
        Self {
            form: policy.request.filter(|_| is_post),
            // Clients with a form of their own always read streams.
            streams: policy.reply.aggregates
                && policy.request.is_none()
                && is_post
                && body_sniff::is_json(parts)
                && !parts.headers.contains_key(header::CONTENT_ENCODING)
                && !admitted.accepts_stream,
            takes_stream_options: admitted.hint.is_some_and(Dialect::takes_stream_options),
        }
    }

    /// Reports whether there is anything to do.
    pub(super) const fn is_on(self) -> bool {
        self.form.is_some() || self.streams
    }

    /// Rewrites the body, and corrects the fields that describe it. Returns whether the client asks for no stream
    /// although the agent now is asked for one. `hear` gets the body as the client sent it.
    ///
    /// # Errors
    /// If the body does not arrive, or cannot be translated.
    pub(super) async fn rewrite(
        self,
        parts: &mut request::Parts,
        body: &mut RequestBody,
        mut hear: impl FnMut(&[u8]),
    ) -> Result<bool, Rejection> {
        if self.form.is_some() && parts.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Rejection::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "request_not_mapped",
                "the route translates requests (request.from): expected a body without Content-Encoding",
            ));
        }
        let mut aggregates = false;
        let changed = body.rewrite(|sent| {
            hear(sent);
            let asks = self
                .streams
                .then(|| request_map::asking_for_stream(sent, self.takes_stream_options));
            aggregates = matches!(asks, Some(Some(_)));
            let sent = asks.flatten().unwrap_or_else(|| sent.to_vec());
            match self.form {
                Some(form) => request_map::to_openai_chat(form, &sent).map_err(Refused::Unmappable),
                None => Ok(sent),
            }
        });
        let length = changed.await.map_err(|refused| match refused {
            Refused::Body(error) => Rejection::from(&error),
            Refused::Unmappable(error) => Rejection {
                message: error.to_string().into(),
                ..Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "request_not_mapped", "")
            },
        })?;
        for name in [header::TRANSFER_ENCODING, header::TRAILER, header::EXPECT] {
            parts.headers.remove(name);
        }
        parts.headers.remove("content-digest");
        (parts.headers).insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if self.form.is_some() {
            let json = HeaderValue::from_static("application/json");
            parts.headers.insert(header::CONTENT_TYPE, json);
        }
        Ok(aggregates)
    }
}
