use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::log::text::format::WIDTH;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what is written of the events of `f`, without the times.
fn written(colours: bool, f: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let builder = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .event_format(Text { colours });
    tracing::subscriber::with_default(builder.finish(), f);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// Returns the line without its time.
fn line(f: impl FnOnce()) -> String {
    let text = written(false, f);
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.len() == 13 && time.ends_with('Z'), "{text}");
    rest.to_owned()
}

#[test]
fn a_stream_is_shown_by_its_outcome_and_its_figures() {
    let shown = line(|| {
        tracing::info!(
            target: access::TARGET,
            stream_id = "s",
            request_id = "3f2a9c1d5b7e",
            route = "chat",
            client = "127.0.0.1",
            method = "POST",
            path = "/v1/chat/completions",
            outcome = "finished",
            code = "finished",
            status = 200,
            ttft_ms = 210.4,
            duration_ms = 12_345.6,
            tokens_per_s = 52.13,
            bytes_out = 7000_u64,
            "stream ended"
        );
    });
    assert_eq!(
        shown,
        "POST /v1/chat/completions finished 12.3s ttft=210ms tok/s=52.1 127.0.0.1 chat #3f2a9c1d\n"
    );
}

#[test]
fn a_code_is_shown_if_it_says_more() {
    let stream = line(|| {
        tracing::warn!(
            target: access::TARGET, stream_id = "s", method = "POST", path = "/", outcome = "upstream_error",
            code = "rate_limit", status = 200_u64, duration_ms = 5.0, "stream ended"
        );
    });
    assert_eq!(stream, "POST / upstream_error rate_limit 5.0ms\n");
    let refused = line(|| {
        tracing::info!(
            target: access::TARGET, method = "GET", path = "/x", outcome = "refused", code = "not_found",
            status = 404_u64, duration_ms = 0.2, bytes_out = 99_u64, "request refused"
        );
    });
    assert_eq!(refused, "GET /x 404 not_found 0.2ms 99B\n");
    let left = line(|| {
        tracing::info!(
            target: access::TARGET, method = "GET", path = "/x", outcome = "client_gone", duration_ms = 10.0,
            "client left before an answer"
        );
    });
    assert_eq!(left, "GET /x client_gone 10ms\n");
    let failed = line(|| {
        tracing::warn!(
            target: access::TARGET, method = "GET", path = "/x", outcome = "failed", code = "upstream_connect",
            status = 502_u64, duration_ms = 1.0, "cannot connect"
        );
    });
    assert_eq!(
        failed,
        "GET /x 502 upstream_connect 1.0ms: cannot connect\n"
    );
}

#[test]
fn no_line_is_long_and_paths_keep_their_ends() {
    let path = format!("/begin/{}/end", "x".repeat(300));
    let text = written(false, || {
        tracing::warn!(
            target: access::TARGET,
            stream_id = "s",
            request_id = "r".repeat(128),
            route = "r".repeat(90),
            client = "2001:0db8:85a3:08d3:1319:8a2e:0370:7344",
            method = "VERYLONGMETHODNAME",
            path,
            outcome = "progress_timeout",
            code = "another_code_that_is_long",
            ttft_ms = 123_456.0,
            duration_ms = 3_599_000.0,
            tokens_per_s = 1234.5,
            "stream ended"
        );
        tracing::warn!(
            target: access::TARGET, method = "GET", path, outcome = "failed", code = "upstream_connect",
            status = 502_u64, client = "127.0.0.1", "{}", "why ".repeat(100)
        );
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(line.chars().count() <= WIDTH, "{}: {line}", line.len());
        assert!(line.contains("/begin"), "{line}");
    }
}

#[test]
fn text_from_peers_controls_nothing() {
    let text = written(false, || {
        tracing::warn!(
            target: access::TARGET, method = "GET", path = "/\x1b[2J\n00:00:00.000Z GET /forged 200", outcome = "finished",
            status = 200_u64, "request ended"
        );
        tracing::warn!(error = "a\nb\x07", "it\u{9b}broke");
    });
    assert!(!text.contains(['\x1b', '\x07', '\u{9b}']), "{text}");
    let starts: Vec<bool> = (text.lines())
        .map(|line| line.starts_with(char::is_numeric))
        .collect();
    assert_eq!(starts, [true, true], "{text}");
}

#[test]
fn other_events_have_their_level_and_their_fields() {
    let shown =
        line(|| tracing::warn!(upstream = "agent", tries = 3, error = "it broke", "is down"));
    assert_eq!(
        shown,
        "WARN  is down upstream=agent tries=3 error=\"it broke\"\n"
    );
    assert_eq!(written(false, || tracing::info!("listening")), "");
}

#[test]
fn colours_are_only_for_terminals() {
    let event = || tracing::warn!("x");
    assert!(written(true, event).contains("\x1b[33mWARN \x1b[0m x"));
    assert!(!written(false, event).contains('\x1b'));
}

#[test]
fn the_start_is_a_banner() {
    let routes: Vec<String> = (0..14)
        .map(|index| format!("r{index} \u{2192} agent"))
        .collect();
    let shown = line(|| {
        tracing::info!(
            version = "1.2.3",
            features = "otel, top",
            listeners = "http://127.0.0.1:8080; unix:/run/weir.sock",
            routes = routes.join("; "),
            admin = "http://127.0.0.1:9464/",
            "started"
        );
    });
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "weir 1.2.3 (features: otel, top)");
    assert_eq!(lines[1], "    listens on http://127.0.0.1:8080");
    assert_eq!(lines[2], "    listens on unix:/run/weir.sock");
    assert_eq!(lines[3], "    route r0 \u{2192} agent");
    assert_eq!(lines[15], "    and 2 more routes");
    assert_eq!(lines[16..], ["    admin http://127.0.0.1:9464/"]);
}

#[test]
fn the_time_is_that_of_the_day() {
    let at = |secs: u64, millis: u32| time(UNIX_EPOCH + Duration::new(secs, millis * 1_000_000));
    assert_eq!(at(0, 7), "00:00:00.007Z");
    assert_eq!(at(1_796_013_998, 123), "04:46:38.123Z");
}
