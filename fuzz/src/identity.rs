//! Request ids and trace context from clients: valid values are forwarded unchanged, invalid ones
//! are never forwarded.

use http::{HeaderMap, HeaderName, HeaderValue};
use weir::session::identity::Identity;

const NAMES: [&str; 4] = ["x-request-id", "traceparent", "tracestate", "x-other"];

/// Checks a set of headers, one per line. The first byte of a line selects the name.
pub fn check(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(20) {
        let Some((name, value)) = line.split_first() else {
            continue;
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            continue;
        };
        headers.append(
            HeaderName::from_static(NAMES[usize::from(*name) % 4]),
            value,
        );
    }
    let given = headers.clone();
    let identity = Identity::of(&mut headers);

    let id = only(&headers, "x-request-id").unwrap();
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
    let trace = only(&headers, "traceparent").unwrap();
    assert!(is_trace(&trace), "{trace}");
    assert_eq!(identity.trace_id(), &trace[3..35]);

    // A value that was valid and sent once is unchanged.
    if let Some(mine) = only(&given, "x-request-id") {
        let usable = !mine.is_empty() && mine.len() <= 128 && !mine.contains([' ', '\t']);
        assert_eq!(mine == id, usable);
    }
    let continued = only(&given, "traceparent").is_some_and(|mine| is_trace(&mine));
    assert_eq!(
        continued,
        given.get("traceparent") == headers.get("traceparent")
    );
    // `tracestate` is forwarded with a continued `traceparent`, and only then.
    let state = |fields: &HeaderMap| {
        fields
            .get_all("tracestate")
            .iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    let expected = if continued { state(&given) } else { Vec::new() };
    assert_eq!(state(&headers), expected);
    assert_eq!(headers.get("x-other"), given.get("x-other"));

    let mut again = headers.clone();
    assert_eq!(Identity::of(&mut again).trace_id(), identity.trace_id());
    assert_eq!(again, headers);
}

/// Returns the text of a header that occurs exactly once.
fn only(fields: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = fields.get_all(name).iter().collect();
    let [value] = values.as_slice() else {
        return None;
    };
    value.to_str().ok().map(str::to_owned)
}

/// Checks a `traceparent` digit by digit (Trace Context, 3.2.2). Later versions may append text.
fn is_trace(text: &str) -> bool {
    let shape = "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";
    let fits = |(byte, place): (u8, u8)| match place {
        b'-' => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    let zeros = |part: &str| part.bytes().all(|byte| byte == b'0');
    text.len() >= shape.len()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.bytes().zip(shape.bytes()).all(fits)
        && !text.starts_with("ff")
        && !zeros(&text[3..35])
        && !zeros(&text[36..52])
        && (text.len() == shape.len() || (!text.starts_with("00") && text.as_bytes()[55] == b'-'))
}
