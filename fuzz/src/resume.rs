//! Heads of requests that ask for a stream: no input panics, what is Weir's own is never taken for an agent's, and what
//! is read means the same when it is written again.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weir::proxy::resume_request::{Place, ResumeRequest, read};

const NAMES: [&str; 3] = ["last-event-id", "idempotency-key", "x-other"];
const PREFIX: &str = "/.weir/streams/";
/// The longest id of an agent, and the longest id of a response.
const MAX_FOREIGN: usize = 1024;
const MAX_RESPONSE: usize = 256;

/// Checks a head: the path in the first line, the query in the second, then one header per line, whose first byte
/// selects the name.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).ok();
    let (Some(path), Some(query)) = (text(), text()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines.take(8) {
        let Some((name, value)) = line.split_first() else {
            continue;
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            continue;
        };
        headers.append(
            HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]),
            value,
        );
    }
    let query = (!query.is_empty()).then_some(query);
    let request = read(&Method::GET, path, query, &headers);
    check_path(path, &request);
    check_place(query, &headers, &request);
    if let Some((id, _)) = &request.response {
        assert!(!id.is_empty() && id.len() <= MAX_RESPONSE);
        assert!(path.contains("responses/") && query.is_some());
        assert_eq!(read(&Method::POST, path, query, &headers).response, None);
    }
    if let Some(Ok(key)) = &request.key {
        assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let given = headers.get_all("idempotency-key").iter().count();
    assert_eq!(request.key.is_some(), given > 0);
    assert!(given < 2 || matches!(request.key, Some(Err(_))));
}

/// What is below the prefix is a stream or malformed, and has one form.
fn check_path(path: &str, request: &ResumeRequest) {
    let below = path.strip_prefix(PREFIX);
    assert_eq!(request.stream.is_some(), below.is_some());
    if let Some(Ok(id)) = &request.stream {
        let below = below.unwrap();
        assert!(below.len() == 32 && below.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(id.to_string(), below.to_ascii_lowercase());
    }
    if let Some(Err(message)) = &request.stream {
        told(message, path);
    }
}

/// The header is stronger than the query; a damaged id of Weir is an error.
fn check_place(query: Option<&str>, headers: &HeaderMap, request: &ResumeRequest) {
    let given: Vec<_> = headers.get_all("last-event-id").iter().collect();
    let value = given
        .first()
        .map(|value| value.as_bytes().trim_ascii())
        .unwrap_or_default();
    match &request.place {
        Ok(Place::Start) => assert!(given.len() < 2 && value.is_empty()),
        Ok(Place::After { stream: None, seq }) => {
            assert!(given.len() < 2 && value.is_empty());
            let again = format!("after={seq}");
            let again = read(&Method::GET, "/", Some(&again), &HeaderMap::new());
            assert_eq!(again.place, request.place);
            assert!(query.is_some());
        }
        Ok(Place::After {
            stream: Some(id),
            seq,
        }) => {
            let mut headers = HeaderMap::new();
            let written = HeaderValue::from_str(&format!("{id}.{seq}")).unwrap();
            headers.insert("last-event-id", written);
            let again = read(&Method::GET, "/", Some("after=1"), &headers);
            assert_eq!(again.place, request.place);
        }
        Ok(Place::Foreign(id)) => {
            assert!(given.len() == 1 && !id.is_empty() && id.len() <= MAX_FOREIGN);
            assert_eq!(id.as_bytes(), value);
            // The form of Weir's ids: 32 hexadecimal digits and a dot.
            let own = id.len() > 32 && id.as_bytes()[32] == b'.';
            assert!(
                !(own && id.bytes().take(32).all(|byte| byte.is_ascii_hexdigit())),
                "{id}"
            );
        }
        Err(message) => told(message, std::str::from_utf8(value).unwrap_or_default()),
    }
}

/// A message is one line, and does not repeat what came.
fn told(message: &str, came: &str) {
    assert!(!message.is_empty() && message.len() < 256 && !message.contains('\n'));
    // Shorter input may be words of the message.
    assert!(came.len() < 200 || !message.contains(came));
}
