//! The line of a request: when, what was asked, how it ended, how long it took, who asked.

use std::fmt::{Debug, Write};

use tracing::Level;
use tracing::field::{Field, Visit};

use super::format::{Clean, Colour, WIDTH, cut, shortened, size, time, width};

/// A path is not shortened below this.
const MIN_PATH: usize = 16;
const MAX_METHOD: usize = 12;
const MAX_ROUTE: usize = 24;
/// How many characters of a request id are shown. They find it in the headers that both sides see.
const SHORT_ID: usize = 8;

/// What the line shows of a request.
#[derive(Debug, Default)]
pub(super) struct Request {
    message: String,
    method: String,
    path: String,
    outcome: String,
    code: String,
    client: String,
    route: String,
    request_id: String,
    /// Whether it was a stream, which is known by its outcome and not by its status.
    is_stream: bool,
    is_websocket: bool,
    status: Option<u64>,
    viewer: Option<u64>,
    bytes: Option<u64>,
    duration: Option<f64>,
    ttft: Option<f64>,
    speed: Option<f64>,
}

impl Request {
    /// Returns the line, with its end.
    pub(super) fn line(&self, now: &str, level: Level, colours: bool) -> String {
        let method = match &*self.method {
            "" => "-".to_owned(),
            method => cut(method, MAX_METHOD),
        };
        let path = match &*self.path {
            "" => "-",
            path => path,
        };
        let how = self.how();
        let fixed = width(now) + width(&method) + width(&how) + 3;
        // One for the space behind the path.
        let room = (WIDTH - 1).saturating_sub(fixed);
        let mut tail = self.tail(&self.route);
        if width(&tail) + MIN_PATH > room {
            tail = self.tail("");
        }
        let room = room.saturating_sub(width(&tail));
        let (path, words) = if self.outcome == "failed" {
            // What has failed is told if there is room for it.
            let path = shortened(path, (room / 2).max(MIN_PATH));
            let left = room.saturating_sub(width(&path) + 2);
            (path, cut(&self.message, left))
        } else {
            (shortened(path, room.max(MIN_PATH)), String::new())
        };
        let words = if words.is_empty() {
            words
        } else {
            format!(": {words}")
        };
        let rest = format!("{tail}{words}");
        let left = WIDTH.saturating_sub(fixed + width(&path) + 1);
        format!(
            "{} {} {path} {}{}\n",
            Colour::Dim.paint(now, colours),
            Colour::Bold.paint(&method, colours),
            self.colour(level).paint(&how, colours),
            cut(&rest, left)
        )
    }

    /// Returns how the request ended: its status if that says it, and otherwise its outcome. The error code follows if
    /// it says more.
    fn how(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let is_error = self.status.is_some_and(|status| status >= 400);
        if let Some(status) = self.status.filter(|_| is_error || !self.is_stream) {
            words.push(status.to_string());
        }
        let is_told = !self.is_stream
            && self.status.is_some()
            && matches!(&*self.outcome, "finished" | "refused" | "failed");
        if !is_told {
            words.push(self.outcome.clone());
        }
        if !self.code.is_empty() && self.code != self.outcome {
            words.push(self.code.clone());
        }
        words.join(" ")
    }

    /// Returns what follows, each with a space in front.
    fn tail(&self, route: &str) -> String {
        let mut tail = String::new();
        let mut add = |text: &str| {
            tail.push(' ');
            tail.push_str(text);
        };
        if self.is_websocket {
            add("websocket");
        }
        if let Some(viewer) = self.viewer {
            add(&format!("viewer={viewer}"));
        }
        if let Some(duration) = self.duration {
            add(&time(duration));
        }
        if let Some(ttft) = self.ttft {
            add(&format!("ttft={}", time(ttft)));
        }
        if let Some(speed) = self.speed {
            add(&format!("tok/s={speed:.1}"));
        }
        if let Some(bytes) = self.bytes.filter(|_| !self.is_stream) {
            add(&size(bytes));
        }
        if !self.client.is_empty() {
            add(&self.client);
        }
        if !route.is_empty() {
            add(&shortened(route, MAX_ROUTE));
        }
        let id: String = self.request_id.chars().take(SHORT_ID).collect();
        if !id.is_empty() {
            add(&format!("#{id}"));
        }
        tail
    }

    fn colour(&self, level: Level) -> Colour {
        let is_error = self.status.is_some_and(|status| status >= 400);
        if level <= Level::WARN {
            Colour::Red
        } else if is_error || self.outcome != "finished" {
            Colour::Yellow
        } else {
            Colour::Green
        }
    }
}

impl Visit for Request {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "duration_ms" => self.duration = Some(value),
            "ttft_ms" => self.ttft = Some(value),
            "tokens_per_s" => self.speed = Some(value),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = Some(value),
            "viewer" => {
                self.viewer = Some(value);
                self.is_stream = true;
            }
            "bytes_out" => self.bytes = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "method" => &mut self.method,
            "path" => &mut self.path,
            "outcome" => &mut self.outcome,
            "code" => &mut self.code,
            "client" => &mut self.client,
            "route" => &mut self.route,
            "request_id" => &mut self.request_id,
            "stream_id" => {
                self.is_stream = true;
                return;
            }
            "transport" => {
                self.is_websocket = true;
                return;
            }
            _ => return,
        };
        // Writing to a string cannot fail.
        let _ = write!(Clean::single(text), "{value:?}");
    }
}
