//! The paths of streams on the port of the routes: `/.weir/streams/{id}`.

use http::HeaderValue;

use super::malformed::Malformed;
use crate::session::stream_id::StreamId;

const PREFIX: &str = "/.weir/streams/";

/// Returns the path of a stream.
pub(in crate::proxy) fn path(id: StreamId) -> String {
    format!("{PREFIX}{id}")
}

/// Reports whether a `Location` leads to a stream of another Weir, which is the agent of this one. Here it leads nowhere.
pub(in crate::proxy) fn is_anothers(location: &HeaderValue) -> bool {
    location.as_bytes().starts_with(PREFIX.as_bytes())
}

/// Returns the stream that a path names; `None` if the path is not below `/.weir/streams/`. What is below it is never
/// forwarded, and is taken as it is written: without percent-encoding, and nothing may follow the id.
pub(super) fn stream(path: &str) -> Option<Result<StreamId, Malformed>> {
    let id = path.strip_prefix(PREFIX)?;
    Some(StreamId::parse(id).ok_or(Malformed {
        what: "path",
        expected: "/.weir/streams/ and the 32 hexadecimal digits of a stream's id",
        came: "something else",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_path() {
        let id = StreamId::random();
        let path = path(id);
        assert_eq!(stream(&path), Some(Ok(id)));
        let (prefix, digits) = path.split_at(PREFIX.len());
        let upper = format!("{prefix}{}", digits.to_uppercase());
        assert_eq!(stream(&upper), Some(Ok(id)));
    }

    #[test]
    fn a_location_may_be_that_of_another_weir() {
        for (location, is) in [
            (&*path(StreamId::random()), true),
            ("/threads/t/runs/r/stream", false),
            ("/a/.weir/streams/x", false),
        ] {
            let value = HeaderValue::from_str(location).unwrap();
            assert_eq!(is_anothers(&value), is, "{location}");
        }
    }

    #[test]
    fn other_paths_are_malformed_or_not_ours() {
        let id = "0123456789abcdef0123456789abcdef";
        for rest in [
            String::new(),
            "/".to_owned(),
            format!("{id}/"),
            format!("{id}/events"),
            format!("/{id}"),
            format!("{id}0"),
            format!("%30{}", &id[1..]),
            format!("../streams/{id}"),
            id[1..].to_owned(),
        ] {
            let got = stream(&format!("/.weir/streams/{rest}"));
            assert!(matches!(got, Some(Err(_))), "{rest}");
        }
        for path in [
            "/",
            "/.weir/streams",
            "/.weir/",
            "/.WEIR/streams/0123456789abcdef0123456789abcdef",
            "//.weir/streams/0123456789abcdef0123456789abcdef",
            "/a/.weir/streams/0123456789abcdef0123456789abcdef",
            "/.weir%2Fstreams/0123456789abcdef0123456789abcdef",
            "/%2eweir/streams/0123456789abcdef0123456789abcdef",
            "*",
        ] {
            assert_eq!(stream(path), None, "{path}");
        }
    }
}
