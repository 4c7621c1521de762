use http::HeaderMap;
use tokio::time::Instant;

use super::*;
use crate::traces::outbox::tests::{Kept, outbox};
use crate::traces::parent::place;
use crate::traces::{Parent, SharedSpan};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Returns the span that `end` leaves behind.
fn told(method: &str, end: impl FnOnce(Span)) -> SpanData {
    let kept = Kept::default();
    let outbox = Arc::new(outbox(kept.clone()));
    let parent = Parent {
        traceparent: PARENT,
        is_own: false,
        headers: &HeaderMap::new(),
    };
    let request = Request {
        route: "chat".into(),
        method: method.parse().unwrap(),
        scheme: "http",
        path: "/v1/chat/completions".into(),
        request_id: HeaderValue::from_static("r1"),
        started: Instant::now(),
    };
    end(Span::new(
        Arc::clone(&outbox),
        place(parent, 1.0).0.unwrap(),
        request,
    ));
    outbox.close().unwrap();
    let mut spans = kept.take();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

pub(in crate::traces) fn any() -> SpanData {
    told("GET", drop)
}

fn said(span: &SpanData, key: &str) -> Option<String> {
    let mut found = span.attributes.iter().filter(|one| one.key.as_str() == key);
    let value = found.next().map(|one| one.value.to_string());
    assert!(found.next().is_none(), "{key} is said once");
    value
}

#[test]
fn a_failure_of_the_upstream_is_an_error() {
    let span = told("POST", |span| {
        span.failed(
            "head_timeout",
            Some(Dialect::OpenAiChat),
            StatusCode::GATEWAY_TIMEOUT,
        );
    });
    assert_eq!(span.name, "chat");
    assert_eq!(span.status, Status::error("head_timeout"));
    assert_eq!(said(&span, "error.type").unwrap(), "head_timeout");
    assert_eq!(said(&span, "weir.outcome").unwrap(), "head_timeout");
    assert_eq!(said(&span, "http.response.status_code").unwrap(), "504");
    assert_eq!(said(&span, "gen_ai.provider.name").unwrap(), "openai");
    assert_eq!(span.span_context.trace_id().to_string(), PARENT[3..35]);
    assert_eq!(span.parent_span_id.to_string(), PARENT[36..52]);
    assert_eq!(span.span_kind, SpanKind::Server);
    assert!(span.end_time >= span.start_time);
}

#[test]
fn what_the_client_did_is_no_error() {
    let span = told("POST", |span| {
        span.failed("request_too_large", None, StatusCode::PAYLOAD_TOO_LARGE);
    });
    assert_eq!(span.status, Status::Unset);
    assert_eq!(said(&span, "error.type"), None);
    assert_eq!(said(&span, "weir.outcome").unwrap(), "request_too_large");
    assert_eq!(span.name, "POST chat");
    let span = told("GET", drop);
    assert_eq!(span.status, Status::Unset);
    assert_eq!(said(&span, "weir.outcome").unwrap(), "client_gone");
    assert_eq!(said(&span, "http.response.status_code"), None);
}

#[test]
fn a_plain_answer_ends_with_its_body() {
    let passing = |status, end: fn(&mut Span)| {
        told("GET", |mut span| {
            span.passing(None, status);
            end(&mut span);
        })
    };
    let span = passing(StatusCode::OK, Span::passed);
    assert_eq!(said(&span, "weir.outcome").unwrap(), "passed");
    assert_eq!(span.status, Status::Unset);
    let span = passing(StatusCode::BAD_GATEWAY, Span::passed);
    assert_eq!(said(&span, "error.type").unwrap(), "502");
    for (end, is_trouble) in [
        (End::ClientGone, false),
        (End::Drained, true),
        (End::TotalTimeout, true),
        (End::Truncated, true),
    ] {
        let span = told("GET", |mut span| {
            span.passing(None, StatusCode::OK);
            span.cut(end);
        });
        assert_eq!(said(&span, "weir.outcome").unwrap(), end.as_str());
        let trouble = is_trouble.then(|| end.as_str().to_owned());
        assert_eq!(said(&span, "error.type"), trouble);
    }
    let span = passing(StatusCode::OK, |_| ());
    assert_eq!(said(&span, "weir.outcome").unwrap(), "client_gone");
}

#[test]
fn only_what_asks_for_it_is_named_by_the_operation() {
    for (method, name) in [("POST", "chat"), ("GET", "GET chat"), ("BREW", "HTTP chat")] {
        let span = told(method, |mut span| {
            span.passing(Some(Dialect::OpenAiChat), StatusCode::OK);
            span.passed();
        });
        assert_eq!(span.name, name);
        let provider = said(&span, "gen_ai.provider.name");
        assert_eq!(provider.is_some(), method == "POST");
        assert_eq!(said(&span, "weir.dialect").unwrap(), "openai_chat");
        assert_eq!(said(&span, "url.scheme").unwrap(), "http");
    }
}

#[test]
fn a_defect_is_not_put_down_to_the_client() {
    let span = told("GET", |span| {
        let work = std::panic::AssertUnwindSafe(|| {
            let _span = span;
            panic!("a mistake");
        });
        assert!(std::panic::catch_unwind(work).is_err());
    });
    assert_eq!(span.status, Status::error("panic"));
    assert_eq!(said(&span, "weir.outcome").unwrap(), "panic");
}

#[test]
fn long_methods_are_not_repeated() {
    let span = told(&"X".repeat(10_000), drop);
    assert_eq!(said(&span, "http.request.method").unwrap(), "_OTHER");
}

#[test]
fn who_comes_back_is_told_apart() {
    for (end, is_trouble) in [
        (End::Finished, false),
        (End::ClientGone, false),
        (End::Drained, false),
        (End::ClientStalled, true),
    ] {
        let span = told("GET", |mut span| {
            span.returns("endpoint");
            span.resumes(7, StatusCode::OK);
            span.followed(end, "s1".to_owned());
        });
        assert_eq!(said(&span, "weir.outcome").unwrap(), end.as_str());
        let trouble = is_trouble.then(|| end.as_str().to_owned());
        assert_eq!(said(&span, "error.type"), trouble);
        assert_eq!(said(&span, "weir.resume.way").unwrap(), "endpoint");
        assert_eq!(said(&span, "weir.resume.from").unwrap(), "7");
        assert_eq!(said(&span, "weir.stream_id").unwrap(), "s1");
        assert_eq!(said(&span, "http.response.status_code").unwrap(), "200");
        // It is no second operation.
        assert_eq!(span.name, "GET chat");
    }
}

#[test]
fn the_first_to_end_a_shared_span_decides() {
    let span = told("GET", |span| {
        let shared = SharedSpan::new(Some(span));
        let other = shared.clone();
        shared.change(|span| span.returns("chat"));
        if let Some(span) = shared.take() {
            span.followed(End::Finished, "s1".to_owned());
        }
        assert!(other.take().is_none());
        other.change(|span| span.returns("endpoint"));
    });
    assert_eq!(said(&span, "weir.outcome").unwrap(), "finished");
    assert_eq!(said(&span, "weir.resume.way").unwrap(), "chat");
}
