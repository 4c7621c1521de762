//! What a caller wants to find in the record of its stream: a header of the request, which is not passed on.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::reject::Refused;
use crate::config::Complete;
use crate::metrics::Refusal;

/// Maximum length of the metadata in bytes.
const MAX_BYTES: usize = 4 << 10;

/// Takes the header out of the request, if the streams of its route are recorded. On other routes, the request is left
/// as it is.
///
/// # Errors
/// If it is too long, is no text, or is given more than once: a caller that needs it must not lose it in silence.
pub(super) fn take(
    complete: &Complete,
    route: &str,
    headers: &mut HeaderMap,
) -> Result<Option<Arc<str>>, Refused> {
    if !complete.records(route) {
        return Ok(None);
    }
    let name = &complete.metadata;
    let mut given = headers.get_all(name).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes());
    let text = text.ok().filter(|text| text.len() <= MAX_BYTES);
    let (Some(text), None) = (text, given.next()) else {
        return Err(Refused {
            message: format!("bad_request: {name} takes one text of at most {MAX_BYTES} bytes")
                .into(),
            ..Refused::new(StatusCode::BAD_REQUEST, Refusal::BadRequest, "")
        });
    };
    let text = Arc::from(text);
    headers.remove(name);
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::{self, Overrides};

    fn complete(section: &str) -> Complete {
        let text = format!(
            "upstreams: {{ a: {{ endpoints: [\"http://127.0.0.1:1\"] }} }}\n\
            routes: [{{ name: r, upstream: a }}, {{ name: s, upstream: a }}]\n\
            complete: {section}\n"
        );
        let config = config::load(Some(("f", &text)), &Overrides::default());
        config.unwrap().complete
    }

    /// The values; what is taken, or the status of the rejection; and whether the header is passed on.
    type Case<'a> = (
        &'a Complete,
        &'a str,
        &'a [&'a [u8]],
        Result<&'a str, u16>,
        bool,
    );

    #[test]
    fn the_header_is_taken_out_where_streams_are_recorded() {
        let on = complete("{ file: /tmp/r, routes: r }");
        let off = complete("{ routes: r }");
        let long = "x".repeat(MAX_BYTES);
        let too_long = "x".repeat(MAX_BYTES + 1);
        let cases: [Case<'_>; 9] = [
            (&on, "r", &[], Ok("-"), false),
            (&on, "r", &[b"{\"user\":7}"], Ok("{\"user\":7}"), false),
            (&on, "r", &["\u{e9}".as_bytes()], Ok("\u{e9}"), false),
            (&on, "r", &[long.as_bytes()], Ok(&long), false),
            (&on, "r", &[too_long.as_bytes()], Err(400), true),
            (&on, "r", &[b"\xff"], Err(400), true),
            (&on, "r", &[b"a", b"b"], Err(400), true),
            (&on, "s", &[b"a"], Ok("-"), true),
            (&off, "r", &[b"a"], Ok("-"), true),
        ];
        for (complete, route, values, expected, is_left) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append("weir-metadata", value);
            }
            let taken = take(complete, route, &mut headers);
            let taken = taken.map(|taken| taken.unwrap_or_else(|| "-".into()));
            let taken = taken.map_err(|rejection| rejection.status.as_u16());
            assert_eq!(taken.as_deref().map_err(|status| *status), expected);
            assert_eq!(
                headers.contains_key("weir-metadata"),
                is_left,
                "{expected:?}"
            );
        }
    }
}
