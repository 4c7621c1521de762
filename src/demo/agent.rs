//! The scripted agent of the demo: serves the page and its files, OpenAI-style chat completions streamed at the pace of
//! a model, and its own account of its runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::page::{self, Index, Page};
use super::runs::{Lane, Runs};
use super::script::{self, Fault, Script};
use crate::tasks;

const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Further connections are closed at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may take to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Send buffer, which the kernel doubles. A large one would hide for how long a slow client holds the agent up.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What pages of other origins may do here: everything. The page asks through the buffering proxy, which has another
/// origin, and the script is no secret.
const SHARED: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-max-age", "600"),
];
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

type Answer = Response<Either<Full<Bytes>, Script>>;

/// The agent, with its page.
#[derive(Debug)]
pub(super) struct Agent {
    page: Page,
    runs: Arc<Runs>,
}

impl Agent {
    pub(super) fn new(page: Page) -> Self {
        Self {
            page,
            runs: Arc::default(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let mut answer = if request.method() == Method::OPTIONS {
            whole(StatusCode::NO_CONTENT, TEXT, "")
        } else {
            self.find(request).await
        };
        for (name, value) in SHARED {
            answer
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        Ok(answer)
    }

    async fn find(&self, request: Request<Incoming>) -> Answer {
        let uri = request.uri().clone();
        let query = Query(uri.query().unwrap_or_default());
        if uri.path() == "/" {
            return self.index(request.headers());
        }
        if let Some((kind, content)) = page::file(uri.path()) {
            return whole(StatusCode::OK, kind, content);
        }
        match uri.path() {
            "/demo/stats" => {
                let figures = self.runs.figures(query.get("run"));
                whole(StatusCode::OK, JSON, figures)
            }
            "/demo/left" if request.method() == Method::POST => {
                if let Some(lane) = Lane::parse(query.get("lane")) {
                    self.runs.leave(query.get("run"), lane);
                }
                whole(StatusCode::NO_CONTENT, TEXT, "")
            }
            path if path.ends_with("/chat/completions") => self.complete(query, request).await,
            _ => {
                let message = "the demo agent knows / and /v1/chat/completions\n";
                whole(StatusCode::NOT_FOUND, TEXT, message)
            }
        }
    }

    fn index(&self, headers: &HeaderMap) -> Answer {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let Index { html, policy } = self.page.index(host);
        // A policy that is no header would be a defect. Without any, the page would still not be served.
        let policy = HeaderValue::try_from(policy)
            .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        let mut answer = whole(StatusCode::OK, HTML, html);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        let no_referrer = HeaderValue::from_static("no-referrer");
        headers.insert(header::REFERRER_POLICY, no_referrer);
        answer
    }

    async fn complete(&self, query: Query<'_>, request: Request<Incoming>) -> Answer {
        let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES)
            .collect()
            .await;
        let asked: Option<serde_json::Value> = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        if asked.is_some_and(|asked| asked.get("stream") != Some(&true.into())) {
            return whole(StatusCode::OK, JSON, script::completion());
        }
        let fault = Fault::parse(query.get("fault"));
        let (run, lane) = (query.get("run"), Lane::parse(query.get("lane")));
        let ticket = lane
            .filter(|_| !run.is_empty())
            .map(|lane| self.runs.begin(run, lane));
        match Script::new(fault, ticket) {
            Ok(script) => {
                let mut answer = typed(Response::new(Either::Right(script)), "text/event-stream");
                if fault == Fault::Gzip {
                    let gzip = HeaderValue::from_static("gzip");
                    answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
                }
                answer
            }
            Err(error) => whole(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        }
    }
}

/// Serves the agent for as long as its runtime.
pub(super) async fn serve(listener: std::net::TcpListener, agent: Agent) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let agent = Arc::new(agent);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        tune(&stream);
        let agent = Arc::clone(&agent);
        tasks::spawn(async move {
            let service = service_fn(|request| agent.answer(request));
            // A broken connection concerns only its client.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}

/// Sets the options of a connection. Without them the demo still works.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_send_buffer_size(SEND_BUFFER_BYTES);
}

fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    typed(answer, kind)
}

fn typed(mut answer: Answer, kind: &'static str) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

/// The query of a request. Its values are plain words.
#[derive(Clone, Copy, Debug)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Returns the first value of this name; empty if there is none.
    fn get(self, name: &str) -> &'a str {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(own, _)| *own == name)
            .map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_name_counts() {
        let query = Query("run=a&lane=left&run=b&x");
        assert_eq!((query.get("run"), query.get("lane")), ("a", "left"));
        assert_eq!((query.get("x"), query.get("fault")), ("", ""));
    }
}
