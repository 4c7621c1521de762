//! The JSON format of the log: one object on a line for each event.
//!
//! ```text
//! {"timestamp":"2026-11-30T04:46:38.123456Z","level":"INFO","message":"listening","address":"[::]:80","target":"weir"}
//! ```
//!
//! Each request has a line with some 30 fields. The format of `tracing-subscriber` writes such a line in hundreds of
//! pieces, through several adapters; this one writes into one buffer.

use std::fmt::{self, Debug};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The line of most streams fits.
const CAPACITY: usize = 1024;
const SECONDS_PER_DAY: u64 = 86_400;

/// Formats events as JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
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
        let line = line(event, SystemTime::now());
        writer.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

/// Returns the line of an event, with its end.
fn line(event: &Event<'_>, now: SystemTime) -> Vec<u8> {
    let mut line = Line(Vec::with_capacity(CAPACITY));
    line.text(r#"{"timestamp":""#);
    line.time(now);
    line.text("\"");
    line.member("level", event.metadata().level().as_str());
    event.record(&mut line);
    line.member("target", event.metadata().target());
    line.text("}\n");
    line.0
}

/// A line that is being written.
#[derive(Debug)]
struct Line(Vec<u8>);

impl Line {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes a member behind another one. Its name is an identifier, with nothing to escape.
    fn member(&mut self, name: &str, value: impl Serialize) {
        self.text(",\"");
        self.text(name);
        self.text("\":");
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.0, &value);
    }

    /// Writes a time in UTC, to the microsecond (RFC 3339).
    fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = date(since.as_secs() / SECONDS_PER_DAY);
        let of_day = since.as_secs() % SECONDS_PER_DAY;
        self.digits(year, 4);
        self.text("-");
        self.digits(month, 2);
        self.text("-");
        self.digits(day, 2);
        self.text("T");
        self.digits(of_day / 3600, 2);
        self.text(":");
        self.digits(of_day / 60 % 60, 2);
        self.text(":");
        self.digits(of_day % 60, 2);
        self.text(".");
        self.digits(u64::from(since.subsec_micros()), 6);
        self.text("Z");
    }

    /// Writes the last `count` digits of a number.
    fn digits(&mut self, number: u64, count: u32) {
        for place in (0..count).rev() {
            let digit = number / 10_u64.pow(place) % 10;
            self.0.push(b'0' + u8::try_from(digit).unwrap_or(0));
        }
    }
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field.name(), format_args!("{value:?}"));
    }
}

/// Returns the year, the month and the day of the month, by the number of days since 1970. Counts in years that begin
/// in March, so that a leap day is the last day of its year.
const fn date(days: u64) -> (u64, u64, u64) {
    const PER_400_YEARS: u64 = 146_097;
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, of_era) = (days / PER_400_YEARS, days % PER_400_YEARS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

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

    /// Returns what is written of the events of `f`, from the level on.
    fn written(f: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let builder = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Json);
        tracing::subscriber::with_default(builder.finish(), f);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let (head, rest) = text.split_at(r#"{"timestamp":"2026-11-30T04:46:38.123456Z","#.len());
        assert!(
            head.starts_with("{\"timestamp\":\"2") && head.ends_with("Z\","),
            "{head}"
        );
        rest.to_owned()
    }

    #[test]
    fn each_kind_of_value_is_written() {
        let line = written(|| {
            tracing::info!(
                target: "weir::access",
                text = "a \"b\"\n\u{1}",
                shown = %"c\\d",
                debug = ?Some("e"),
                unsigned = u64::MAX,
                signed = -1,
                whole = 5.0,
                part = 102.149,
                none = f64::NAN,
                flag = true,
                missing = None::<&str>,
                "it {}", "ended"
            );
        });
        let want = concat!(
            r#""level":"INFO","message":"it ended","text":"a \"b\"\n\u0001","shown":"c\\d","debug":"Some(\"e\")","#,
            r#""unsigned":18446744073709551615,"signed":-1,"whole":5.0,"part":102.149,"none":null,"flag":true,"#,
            r#""target":"weir::access"}"#,
            "\n"
        );
        assert_eq!(line, want);
    }

    #[test]
    fn a_time_is_a_date_in_utc() {
        let at = |seconds: u64, micros: u32| {
            let mut line = Line(Vec::new());
            line.time(UNIX_EPOCH + Duration::new(seconds, micros * 1000));
            String::from_utf8(line.0).unwrap()
        };
        assert_eq!(at(0, 7), "1970-01-01T00:00:00.000007Z");
        assert_eq!(at(951_782_399, 0), "2000-02-28T23:59:59.000000Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(951_868_800, 0), "2000-03-01T00:00:00.000000Z");
        assert_eq!(at(1_796_013_998, 123_456), "2026-11-30T04:46:38.123456Z");
        assert_eq!(at(4_107_542_399, 999_999), "2100-02-28T23:59:59.999999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }
}
