//! The text format of the log, for people: one short line for each event.
//!
//! ```text
//! 04:46:38.123Z POST /v1/chat/completions finished 12.3s ttft=210ms tok/s=52.1 127.0.0.1 chat #3f2a9c1d
//! 04:46:38.123Z WARN  an endpoint is left out for a while upstream=agent endpoint=127.0.0.1:8000
//! ```
//!
//! A line may contain text from a peer. Such text can neither control the terminal nor begin a new line.

mod banner;
mod format;
mod request;

use std::fmt::{self, Debug, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::access;
use banner::Banner;
pub(crate) use format::printable;
use format::{Clean, Colour};
use request::Request;

/// Formats events as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// A terminal shows the log, and may be sent colours.
    pub(super) colours: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(&self.line(event, SystemTime::now()))
    }
}

impl Text {
    /// Returns the lines of an event, with the line end; nothing if it is not shown.
    fn line(self, event: &Event<'_>, now: SystemTime) -> String {
        let level = *event.metadata().level();
        let time = time(now);
        if event.metadata().target() == access::TARGET {
            let mut request = Request::default();
            event.record(&mut request);
            return request.line(&time, level, self.colours);
        }
        let mut plain = Plain::default();
        event.record(&mut plain);
        match &*plain.message {
            "started" => {
                let mut banner = Banner::default();
                event.record(&mut banner);
                banner.lines(&time)
            }
            // The banner has the addresses.
            "listening" => String::new(),
            message => {
                let name = match level {
                    Level::ERROR => Colour::Red.paint("ERROR", self.colours),
                    Level::WARN => Colour::Yellow.paint("WARN ", self.colours),
                    Level::INFO => "INFO ".to_owned(),
                    Level::DEBUG => Colour::Dim.paint("DEBUG", self.colours),
                    Level::TRACE => Colour::Dim.paint("TRACE", self.colours),
                };
                let time = Colour::Dim.paint(&time, self.colours);
                format!("{time} {name} {message}{}\n", plain.fields)
            }
        }
    }
}

/// An event that is not about a request.
#[derive(Debug, Default)]
struct Plain {
    message: String,
    /// `key=value`, each with a space in front.
    fields: String,
}

impl Visit for Plain {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" && value.contains(char::is_whitespace) {
            self.record_debug(field, &value);
        } else {
            self.record_debug(field, &format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(Clean::indented(&mut self.message), "{value:?}")
        } else {
            let mut out = Clean::indented(&mut self.fields);
            write!(out, " {}={value:?}", field.name())
        };
    }
}

/// Returns the time of day in UTC, to the millisecond.
fn time(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let of_day = since.as_secs() % 86_400;
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{:03}Z",
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests;
