//! The scripted agent of the demo: serves the page, and OpenAI-style chat completions streamed at the pace of a model.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::tasks;

const PAGE: &str = include_str!("page.html");
const MAX_REQUEST_BYTES: usize = 1 << 20;
const PACE: Duration = Duration::from_millis(40);
const ANSWER: &str = "A weir is a low dam across a river. It does not stop the water: it holds a steady level, \
lets the stream through evenly, and is the place where the flow is measured. This text was sent one word at a \
time, and Weir passed each word on the moment it was complete.";

/// Starts the agent on a free port in its own thread. Its page links to `admin`.
pub(super) fn start(admin: &str) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let page: Arc<str> = PAGE.replace("\"ADMIN\"", &format!("\"{admin}\"")).into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("demo-agent".into())
        .spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                while let Ok((stream, _)) = listener.accept().await {
                    let page = Arc::clone(&page);
                    tasks::spawn(async move {
                        let service = service_fn(|request| answer(&page, request));
                        // A broken connection concerns only its client.
                        let _ = http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            });
        })?;
    Ok(address)
}

async fn answer(page: &str, request: Request<Incoming>) -> Result<Response<Script>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/" {
        return Ok(whole(
            StatusCode::OK,
            "text/html; charset=utf-8",
            page.to_owned(),
        ));
    }
    if !path.ends_with("/chat/completions") {
        let message = "the demo agent knows / and /v1/chat/completions\n".to_owned();
        return Ok(whole(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            message,
        ));
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES)
        .collect()
        .await;
    let asked: Option<serde_json::Value> = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    if asked.is_some_and(|asked| asked.get("stream") != Some(&true.into())) {
        return Ok(whole(StatusCode::OK, "application/json", completion()));
    }
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let script = Script {
        parts: chunks().into_iter(),
        pace: Some(pace),
    };
    Ok(typed(Response::new(script), "text/event-stream"))
}

fn whole(status: StatusCode, kind: &'static str, body: String) -> Response<Script> {
    let mut response = Response::new(Script {
        parts: vec![body].into_iter(),
        pace: None,
    });
    *response.status_mut() = status;
    typed(response, kind)
}

fn typed(mut response: Response<Script>, kind: &'static str) -> Response<Script> {
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn completion() -> String {
    serde_json::json!({
        "id": "demo", "object": "chat.completion", "created": 0, "model": "demo",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": ANSWER },
        }],
    })
    .to_string()
}

fn chunks() -> Vec<String> {
    let chunk = |delta: String, finish: &str| {
        format!(
            "data: {{\"id\":\"demo\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"demo\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut chunks = vec![chunk(
        "{\"role\":\"assistant\",\"content\":\"\"}".into(),
        "null",
    )];
    chunks.extend(
        ANSWER
            .split_inclusive(' ')
            .map(|word| chunk(format!("{{\"content\":\"{word}\"}}"), "null")),
    );
    chunks.push(chunk("{}".into(), "\"stop\""));
    chunks.push("data: [DONE]\n\n".into());
    chunks
}

/// A body that sends its parts one per tick of `pace`, or at once without a pace.
struct Script {
    parts: std::vec::IntoIter<String>,
    pace: Option<Interval>,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pace) = &mut self.pace
            && pace.poll_tick(cx).is_pending()
        {
            return Poll::Pending;
        }
        Poll::Ready(
            self.parts
                .next()
                .map(|part| Ok(Frame::data(Bytes::from(part)))),
        )
    }
}
