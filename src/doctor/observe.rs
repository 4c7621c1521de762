//! Sends one request, and notes when each part of its response arrived.

use std::time::Duration;

use bytes::Bytes;
use http::uri::InvalidUri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::select;
use tokio::time::{Instant, sleep, timeout_at};

use super::clock::Clock;
use super::connect::{Connection, Dialer, said};
use super::ending::Ending;
use super::lines::Splitter;
use super::observation::{End, Form, Head, INTERRUPTED, Observation};
use super::stop::Stop;
use super::target::Target;
use crate::probe::HEADER;
use crate::reply::head::STREAM_ID;
use crate::wire::encoding::{Coding, Decoder, Error as CodingError};

/// The most bytes of a body that are read.
const MAX_BYTES: u64 = 256 << 20;
/// The most bytes of an answer that is read whole.
const MAX_ANSWER: usize = 64 * 1024;

/// What observing needs, for one URL.
#[derive(Clone, Copy)]
pub(crate) struct Observer<'a> {
    pub(crate) dialer: &'a Dialer,
    pub(crate) target: &'a Target,
    /// Sent with every request.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) clock: &'a Clock,
    pub(crate) stop: &'a Stop,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path with its query.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// How long all of it may take.
    pub(crate) limit: Duration,
    /// What it is called if it takes longer.
    pub(crate) beyond: End,
    /// How long the response may be silent.
    pub(crate) silence: Duration,
}

impl Call {
    /// Creates a GET request.
    pub(crate) const fn get(path: String, limit: Duration) -> Self {
        Self {
            method: Method::GET,
            path,
            body: Bytes::new(),
            limit,
            beyond: End::TimedOut,
            silence: limit,
        }
    }
}

impl Observer<'_> {
    /// Does the work, unless the user wants the report before it is done.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        select! {
            done = work => Some(done),
            () = self.stop.wait() => None,
        }
    }

    /// Waits for this time, or until the user wants the report.
    pub(crate) async fn pause(&self, time: Duration) {
        // It does not matter which.
        let _ = self.unless_stopped(sleep(time)).await;
    }

    /// Opens a connection.
    pub(crate) async fn dial(&self) -> Result<Connection, String> {
        let dialed = self.unless_stopped(self.dialer.dial(self.target, self.clock));
        dialed.await.unwrap_or_else(|| Err(INTERRUPTED.to_owned()))
    }

    /// Sends a request over a connection of its own, and reads its response until it ends or `enough` says so.
    pub(crate) async fn observe(
        &self,
        call: &Call,
        mut enough: impl FnMut(&Observation) -> bool,
    ) -> Observation {
        let until = Instant::now() + call.limit;
        let mut seen = Observation {
            connect: 0,
            asked: self.clock.now(),
            head: None,
            form: Form::Other,
            arrivals: Vec::new(),
            facts: None,
            ending: Ending::Open,
            bytes: 0,
            end: End::TimedOut,
            ended: 0,
        };
        let mut connection = None;
        // Boxed: it is large.
        let observing = Box::pin(async {
            match self.dialer.dial(self.target, self.clock).await {
                Ok(opened) => {
                    seen.connect = opened.took;
                    let opened = connection.insert(opened);
                    let run = self.run(opened, call, &mut seen, &mut enough);
                    let ended = timeout_at(until, run).await;
                    ended.unwrap_or_else(|_| call.beyond.clone())
                }
                Err(problem) => End::Failed(problem),
            }
        });
        let ended = self.unless_stopped(observing).await;
        seen.end = ended.unwrap_or(End::Interrupted);
        seen.ended = self.clock.now();
        // Here the doctor leaves, if the response has not ended.
        drop(connection);
        seen
    }

    async fn run(
        &self,
        connection: &mut Connection,
        call: &Call,
        seen: &mut Observation,
        enough: &mut impl FnMut(&Observation) -> bool,
    ) -> End {
        let request = match self.request(call, connection.is_http2()) {
            Ok(request) => request,
            Err(problem) => return End::Failed(problem),
        };
        seen.asked = self.clock.now();
        let silent_at = || Instant::now() + call.silence;
        let response = match timeout_at(silent_at(), connection.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => return End::Failed(problem),
            Err(_) => return End::TimedOut,
        };
        let head = head(&response, self.clock.now());
        let mut splitter = Splitter::new(&head.essence());
        let mut decoder = Coding::of(response.headers()).and_then(Decoder::new);
        seen.head = Some(head);
        let mut body = response.into_body();
        loop {
            if enough(seen) {
                return End::Left;
            }
            let frame = match timeout_at(silent_at(), body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return End::Broken(said(&error)),
                Ok(None) => {
                    seen.ending = splitter.into_ending();
                    return End::Complete;
                }
                Err(_) => return End::TimedOut,
            };
            let at = self.clock.now();
            let Some(data) = frame.data_ref() else {
                continue;
            };
            seen.bytes = seen.bytes.saturating_add(data.len() as u64);
            if seen.bytes > MAX_BYTES {
                return call.beyond.clone();
            }
            let arrivals = &mut seen.arrivals;
            match &mut decoder {
                None => splitter.feed(data, at, arrivals),
                Some(decoder) => {
                    let fed: Result<(), CodingError> = decoder.feed(data, |bytes: &[u8]| {
                        splitter.feed(bytes, at, arrivals);
                        Ok::<(), CodingError>(())
                    });
                    if let Err(error) = fed {
                        return End::Broken(error.to_string());
                    }
                }
            }
            seen.form = splitter.form();
            if seen.facts.is_none() {
                seen.facts = splitter.facts().cloned();
            }
        }
    }

    /// Sends a request over a connection that is open already. Returns the status and the body.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        call: &Call,
    ) -> Result<(u16, Bytes), String> {
        let mut request = self.request(call, connection.is_http2())?;
        // What is asked is read as it comes.
        let identity = HeaderValue::from_static("identity");
        (request.headers_mut()).insert(header::ACCEPT_ENCODING, identity);
        let asked = async {
            let response = connection.send(request).await?;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| said(&error))?;
                if let Some(data) = frame.data_ref() {
                    whole.extend_from_slice(data);
                }
                if whole.len() > MAX_ANSWER {
                    return Err(format!("the answer is longer than {MAX_ANSWER} bytes"));
                }
            }
            Ok((status, Bytes::from(whole)))
        };
        let answered = Box::pin(timeout_at(Instant::now() + call.limit, asked));
        match self.unless_stopped(answered).await {
            Some(Ok(answered)) => answered,
            Some(Err(_)) => Err(format!("no answer within {} s", call.limit.as_secs())),
            None => Err(INTERRUPTED.to_owned()),
        }
    }

    fn request(&self, call: &Call, is_http2: bool) -> Result<Request<Full<Bytes>>, String> {
        let mut headers = self.headers.clone();
        let given = headers.remove(header::HOST);
        let given = given.as_ref().and_then(|host| host.to_str().ok());
        let host = given.unwrap_or(&self.target.authority).to_owned();
        let wrong = |error: &dyn std::error::Error| format!("the request cannot be sent: {error}");
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        let uri = if is_http2 {
            let scheme = if self.target.tls { "https" } else { "http" };
            format!("{scheme}://{host}{}", call.path)
        } else {
            let value = HeaderValue::from_str(&host).map_err(|error| wrong(&error))?;
            headers.insert(header::HOST, value);
            call.path.clone()
        };
        let uri: Result<Uri, InvalidUri> = uri.parse();
        *request.uri_mut() = uri.map_err(|error| wrong(&error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Returns where a redirect leads, without its query; `None` if it cannot be shown.
fn shown(location: &str) -> Option<String> {
    if location.starts_with('/') && !location.starts_with("//") {
        let path = location.split(['?', '#']).next()?;
        return Some(format!("{path} of the same host"));
    }
    Target::parse(location)
        .ok()
        .map(|target| target.to_string())
}

fn head(response: &Response<Incoming>, at: i64) -> Head {
    let text = |name: HeaderName| {
        let value = response.headers().get(name)?;
        let text = value.to_str().ok()?;
        Some(text.chars().take(200).collect::<String>())
    };
    Head {
        at,
        status: response.status().as_u16(),
        version: response.version(),
        kind: text(header::CONTENT_TYPE),
        coding: text(header::CONTENT_ENCODING),
        server: text(header::SERVER),
        via: text(header::VIA),
        location: text(header::LOCATION).and_then(|to| shown(&to)),
        is_probe: response.headers().contains_key(HEADER),
        is_weirs: response.headers().contains_key(STREAM_ID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_shown_without_its_query() {
        for (location, said) in [
            ("https://a.test/x?key=s3cret", Some("https://a.test/x")),
            ("/login?next=s3cret", Some("/login of the same host")),
            ("//a/x", None),
            ("https://u:s3cret@a/", None),
            ("x", None),
        ] {
            assert_eq!(shown(location).as_deref(), said, "{location}");
        }
    }
}
