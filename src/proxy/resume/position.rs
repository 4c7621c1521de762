//! Where in a stream a client wants to go on.
//!
//! A position in the header `Last-Event-ID` takes precedence over one in the query. An `EventSource` that was opened
//! with `?after=5` keeps that URL when it comes back, and puts the last event that it has seen in the header.

use http::HeaderMap;

use super::malformed::Malformed;
use super::percent::{Part, decoded, values};
use crate::session::stream_id::StreamId;

/// The header with the id of the last event that a client has.
pub(super) const LAST_EVENT_ID: &str = "Last-Event-ID";
/// The longest id of an upstream. It is kept with the stream, and must fit into a header.
const MAX_FOREIGN_BYTES: usize = 1 << 10;
/// How many digits a number of 64 bits has at most.
const MAX_DIGITS: usize = 20;

/// Where a client wants to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// At the first event.
    Start,
    /// After the event of this number. Only an event id says which stream it means.
    After { stream: Option<StreamId>, seq: u64 },
    /// After the event to which the upstream gave this id.
    Foreign(String),
}

impl Position {
    /// Reads the position of a request for one stream: the header, otherwise the parameter `after`.
    ///
    /// # Errors
    /// If the one that counts is malformed.
    pub(super) fn of(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Malformed> {
        if let Some(position) = Self::of_header(headers)? {
            return Ok(position);
        }
        let after = number(query, "after")?;
        Ok(after.map_or(Self::Start, |seq| Self::After { stream: None, seq }))
    }

    /// Reads the position in the header; `None` if there is none. On a route of an agent only this counts, because the
    /// query belongs to the agent.
    ///
    /// An id of 32 hexadecimal digits and a dot is one of Weir's, so a damaged one is an error: taken for an agent's,
    /// it would be forwarded, and start another run.
    ///
    /// # Errors
    /// If it is malformed, too long, or given more than once.
    pub(super) fn of_header(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let malformed = |came| Malformed {
            what: LAST_EVENT_ID,
            expected: "one id of at most 1024 bytes",
            came,
        };
        let mut given = headers.get_all(LAST_EVENT_ID).iter();
        let Some(value) = given.next() else {
            return Ok(None);
        };
        if given.next().is_some() {
            return Err(malformed("several"));
        }
        let text =
            std::str::from_utf8(value.as_bytes()).map_err(|_| malformed("one that is no text"))?;
        let text = text.trim_ascii();
        if text.is_empty() {
            // What an `EventSource` has before the first id.
            return Ok(None);
        }
        if text.len() > MAX_FOREIGN_BYTES {
            return Err(malformed("a longer one"));
        }
        let own = text
            .split_once('.')
            .and_then(|(stream, seq)| Some((StreamId::parse(stream)?, seq)));
        let Some((stream, seq)) = own else {
            return Ok(Some(Self::Foreign(text.to_owned())));
        };
        let seq = digits(seq).map_err(|came| Malformed {
            expected: "an id of Weir to end with a whole number of 64 bits",
            ..malformed(came)
        })?;
        let stream = Some(stream);
        Ok(Some(Self::After { stream, seq }))
    }
}

/// Returns the id that a Weir gives to an event.
pub(super) fn event_id(stream: StreamId, seq: u64) -> String {
    format!("{stream}.{seq}")
}

/// Reads a number from the query; `None` if there is none.
///
/// # Errors
/// If it is not a whole number of 64 bits, or given more than once.
pub(super) fn number(query: Option<&str>, name: &'static str) -> Result<Option<u64>, Malformed> {
    let malformed = |came| Malformed {
        what: name,
        expected: "one whole number of 64 bits",
        came,
    };
    let mut given = values(query.unwrap_or_default(), name);
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(malformed("several"));
    }
    let Some(text) = decoded(value, Part::Query, MAX_DIGITS) else {
        return Err(malformed(OTHER));
    };
    digits(&text).map(Some).map_err(malformed)
}

const OTHER: &str = "something else";

/// Parses digits, or says what came instead. [`str::parse`] alone would take a sign as well.
fn digits(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() {
        return Err("nothing");
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(OTHER);
    }
    text.parse().map_err(|_| "a larger one")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789ABCDEF";

    fn of(ids: &[&[u8]], query: &str) -> Result<Position, String> {
        let mut headers = HeaderMap::new();
        for id in ids {
            let value = HeaderValue::from_bytes(id).unwrap();
            headers.append(LAST_EVENT_ID, value);
        }
        let query = (!query.is_empty()).then_some(query);
        Position::of(&headers, query).map_err(|malformed| malformed.to_string())
    }

    fn after(stream: Option<&str>, seq: u64) -> Position {
        let stream = stream.and_then(StreamId::parse);
        Position::After { stream, seq }
    }

    #[test]
    fn an_id_is_ours_or_the_upstreams() {
        let id = |seq: &str| format!("{ID}.{seq}");
        assert_eq!(of(&[id("7").as_bytes()], ""), Ok(after(Some(ID), 7)));
        assert_eq!(of(&[id("0").as_bytes()], ""), Ok(after(Some(ID), 0)));
        let last = id("18446744073709551615");
        assert_eq!(of(&[last.as_bytes()], ""), Ok(after(Some(ID), u64::MAX)));
        let longest = "x".repeat(MAX_FOREIGN_BYTES);
        let longer = format!("0{ID}.1");
        for foreign in [
            "-1",
            "7",
            "1700000000000-0",
            ID,
            ".1",
            "0123.1",
            "\u{e9}",
            &longest,
            &longer,
        ] {
            let want = Position::Foreign(foreign.to_owned());
            assert_eq!(of(&[foreign.as_bytes()], ""), Ok(want), "{foreign}");
        }
    }

    #[test]
    fn a_damaged_id_is_refused() {
        let id = |seq: &str| format!("{ID}.{seq}").into_bytes();
        let too_long = vec![b'x'; MAX_FOREIGN_BYTES + 1];
        for (ids, came) in [
            (vec![id("")], "64 bits, nothing came"),
            (vec![id("+1")], "64 bits, something else came"),
            (vec![id("-1")], "64 bits, something else came"),
            (vec![id("1 ")], ""),
            (vec![id(" 1")], "64 bits, something else came"),
            (vec![id("1.2")], "64 bits, something else came"),
            (vec![id("1x")], "64 bits, something else came"),
            (
                vec![id("18446744073709551616")],
                "64 bits, a larger one came",
            ),
            (vec![too_long], "1024 bytes, a longer one came"),
            (vec![vec![0xff]], "1024 bytes, one that is no text came"),
            (vec![id("1"), id("1")], "1024 bytes, several came"),
        ] {
            let slices: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
            let got = of(&slices, "after=3");
            if came.is_empty() {
                // White space around a header's value is none of it.
                assert_eq!(got, Ok(after(Some(ID), 1)));
                continue;
            }
            let message = got.unwrap_err();
            assert!(message.starts_with("Last-Event-ID: expected "), "{message}");
            assert!(message.ends_with(came), "{message}");
        }
    }

    #[test]
    fn the_query_counts_where_the_header_says_nothing() {
        let start = || Ok(Position::Start);
        for (query, want) in [
            ("", start()),
            ("starting_after=3", start()),
            ("after=0", Ok(after(None, 0))),
            ("x=1&after=%312", Ok(after(None, 12))),
            (
                "after=18446744073709551615",
                Ok(after(None, 18_446_744_073_709_551_615)),
            ),
        ] {
            assert_eq!(of(&[], query), want, "{query}");
            assert_eq!(of(&[b""], query), want, "{query}");
            let header = format!("{ID}.9");
            assert_eq!(of(&[header.as_bytes()], query), Ok(after(Some(ID), 9)));
        }
        for (query, came) in [
            ("after", "nothing"),
            ("after=", "nothing"),
            ("after=1&after=1", "several"),
            ("after=-1", "something else"),
            ("after=%2B1", "something else"),
            ("after=+1", "something else"),
            ("after=1.0", "something else"),
            ("after=%", "something else"),
            ("after=18446744073709551616", "a larger one"),
        ] {
            let want = format!("after: expected one whole number of 64 bits, {came} came");
            assert_eq!(of(&[], query), Err(want), "{query}");
        }
    }
}
