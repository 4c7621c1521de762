//! The record of a stream that is over, for those who keep what was said: one JSON object, in one line.

use super::action::Facts;
use super::gather::Gathered;
use super::messages::{Message, messages};
use super::raw::{escaped, quoted};
use super::writer::digits;
use super::writer::whole::native::{string_or_null, tools, usage};

/// What is known of a stream that is over beside what was said in it. Strings are plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFacts<'a> {
    /// The id of the stream.
    pub stream_id: &'a str,
    /// The id of its request.
    pub request_id: &'a str,
    /// The name of its route.
    pub route: &'a str,
    /// The name of the agent's dialect.
    pub dialect: &'a str,
    /// What the caller wants to find in the record.
    pub metadata: Option<&'a str>,
    /// How the stream has ended.
    pub outcome: &'a str,
    /// The error code; `None` if it has ended well.
    pub code: Option<&'a str>,
    /// When it began: Unix time in milliseconds.
    pub started_at_ms: u64,
    /// How long it took to the first token; `None` if there was none.
    pub first_token_ms: Option<u64>,
    /// How long it took to the end.
    pub duration_ms: u64,
}

/// Returns the record of a stream.
pub(super) fn record(stream: &StreamFacts<'_>, facts: &Facts, gathered: &Gathered) -> Vec<u8> {
    let said: Vec<Vec<u8>> = messages(gathered).iter().filter_map(message).collect();
    let first_token = stream.first_token_ms.map(digits);
    let ended_at_ms = stream.started_at_ms.saturating_add(stream.duration_ms);
    let mut record = [
        b"{\"type\":\"stream.completed\",\"timestamp\":\"".as_slice(),
        rfc3339(ended_at_ms).as_bytes(),
        b"\",\"data\":{\"stream_id\":",
        &string(stream.stream_id),
        b",\"request_id\":",
        &string(stream.request_id),
        b",\"route\":",
        &string(stream.route),
        b",\"dialect\":",
        &string(stream.dialect),
        b",\"metadata\":",
        &optional(stream.metadata),
        b",\"outcome\":",
        &string(stream.outcome),
        b",\"code\":",
        &optional(stream.code),
        b",\"messages\":[",
        &said.join(b",".as_slice()),
        b"],\"tools\":",
        &tools(gathered),
        b",\"usage\":",
        usage(facts).as_bytes(),
        b",\"started_at\":\"",
        rfc3339(stream.started_at_ms).as_bytes(),
        b"\",\"first_token_ms\":",
        first_token.as_deref().unwrap_or(b"null"),
        b",\"duration_ms\":",
        &digits(stream.duration_ms),
        b",\"truncated\":",
        if gathered.is_truncated() {
            b"true"
        } else {
            b"false"
        },
        b"}}",
    ]
    .concat();
    // A raw value may have line breaks between its tokens.
    for byte in &mut record {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    record
}

/// Returns a message, if it has more than reasoning.
fn message(message: &Message<'_>) -> Option<Vec<u8>> {
    let parts = [
        b"{\"msg\":".as_slice(),
        &string_or_null(message.msg),
        b",\"text\":\"",
        &message.text,
        b"\"}",
    ];
    (!message.text.is_empty()).then(|| parts.concat())
}

fn string(plain: &str) -> Vec<u8> {
    quoted(&escaped(plain.as_bytes()))
}

fn optional(plain: Option<&str>) -> Vec<u8> {
    plain.map_or_else(|| b"null".to_vec(), string)
}

/// Returns a Unix time in milliseconds as RFC 3339 writes it, in UTC.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    // The end of the year 9999: RFC 3339 has four digits for years.
    const MAX_MS: u64 = 253_402_300_799_999;
    let ms = unix_ms.min(MAX_MS);
    let mut days = ms / 86_400_000;
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let day = days + 1;
    let [hour, minute, second] = [ms / 3_600_000 % 24, ms / 60_000 % 60, ms / 1000 % 60];
    let rest = ms % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z")
}

const fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::part::{By, Part};
    use crate::translate::writer::whole::testing::{
        Last, call_of, failure, gather, reasoning, run, text, weather,
    };

    const STREAM: StreamFacts<'_> = StreamFacts {
        stream_id: "s1",
        request_id: "q1",
        route: "chat",
        dialect: "langgraph",
        metadata: None,
        outcome: "finished",
        code: None,
        started_at_ms: 1_700_000_000_000,
        first_token_ms: Some(250),
        duration_ms: 1500,
    };

    fn recorded(stream: &StreamFacts<'_>, parts: &[Part<'static>], max: usize) -> String {
        let (gathered, conversation) = gather(parts, Last::Finish, max);
        let bytes = record(stream, &conversation.facts, &gathered);
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// The record of `STREAM`, with these members of its data.
    fn expected(about: &str, said: &str, times: &str) -> String {
        format!(
            "{{\"type\":\"stream.completed\",\"timestamp\":\"2023-11-14T22:13:21.500Z\",\"data\":{{\
             \"stream_id\":\"s1\",\"request_id\":\"q1\",\"route\":\"chat\",\"dialect\":\"langgraph\",\
             {about},{said},\"started_at\":\"2023-11-14T22:13:20.000Z\",{times}}}}}"
        )
    }

    #[test]
    fn a_stream_is_told_without_its_reasoning() {
        let said = r#""messages":[{"msg":"m1","text":"Let me look."},{"msg":"m2","text":"It is 4 C in Oslo."}],"tools":[{"id":"c1","name":"wx","args":{"city":"Oslo"},"ok":true,"content":"4 C"}],"usage":{"input":25,"output":18,"reasoning":5}"#;
        let about = r#""metadata":null,"outcome":"finished","code":null"#;
        let times = r#""first_token_ms":250,"duration_ms":1500,"truncated":false"#;
        let found = recorded(&STREAM, &weather(By::Agent), 1000);
        assert_eq!(found, expected(about, said, times));
    }

    #[test]
    fn a_failed_stream_has_a_code_and_what_came_before() {
        let stream = StreamFacts {
            metadata: Some("user \"7\"\n"),
            outcome: "failed",
            code: Some("busy"),
            first_token_ms: None,
            ..STREAM
        };
        let parts = [run(), reasoning("", "Hm."), text("", "Hi there"), failure()];
        let said = r#""messages":[{"msg":null,"text":"Hi"}],"tools":[],"usage":null"#;
        let about = r#""metadata":"user \"7\"\n","outcome":"failed","code":"busy""#;
        let times = r#""first_token_ms":null,"duration_ms":1500,"truncated":true"#;
        let found = recorded(&stream, &parts, 5);
        assert_eq!(found, expected(about, said, times));
    }

    #[test]
    fn a_record_is_one_line() {
        let mut parts = call_of("c1", "wx", By::Agent);
        parts.push(Part::ToolResult {
            id: b"c1".into(),
            name: b"".into(),
            ok: true,
            content: b"[1,\r\n2]".into(),
            partial: false,
        });
        let found = recorded(&STREAM, &parts, 100);
        assert!(found.contains("\"content\":[1,  2]"), "{found}");
        assert!(!found.contains(['\n', '\r']), "{found}");
    }

    #[test]
    fn times_are_in_the_calendar() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), expected);
        }
    }
}
