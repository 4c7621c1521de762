//! Chooses the format of the metrics page by what the scraper accepts.

use http::HeaderMap;
use http::header::ACCEPT;

/// The media type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text";
/// The version of OpenMetrics that is written.
const VERSION: &str = "1.0.0";

/// Reports whether the scraper wants OpenMetrics, and at least as much as the older text format.
pub(super) fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let (mut new, mut old) = (0, 0);
    for value in headers.get_all(ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let parameter = |name: &str| {
                let mut all = parts.clone().filter_map(|part| part.split_once('='));
                let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim_matches('"'))
            };
            let weight = weight(parameter("q"));
            if kind.eq_ignore_ascii_case(OPENMETRICS) {
                if parameter("version").is_none_or(|version| version == VERSION) {
                    new = weight.max(new);
                }
            } else if kind.eq_ignore_ascii_case("text/plain") {
                old = weight.max(old);
            }
        }
    }
    new > 0 && new >= old
}

/// Returns a weight in thousandths (RFC 9110, 12.4.2). What is no weight counts as none.
fn weight(text: Option<&str>) -> u16 {
    let Some(text) = text else { return 1000 };
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_short = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{rest:0<3}").parse::<u16>();
    match (whole, thousandths) {
        ("0", Ok(thousandths)) if is_short => thousandths,
        ("1", Ok(0)) if is_short => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn scrapers_get_what_they_ask_for() {
        for (accept, want) in [
            // Prometheus 2.42, and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", true),
            ("application/openmetrics-text; version=0.0.1", false),
            (
                "application/openmetrics-text; q=0.3, text/plain; q=0.5",
                false,
            ),
            ("application/openmetrics-text; q=0", false),
            ("application/openmetrics-text; q=much", false),
            ("text/plain", false),
            ("text/html, */*", false),
            ("*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_openmetrics(&headers), want, "{accept}");
        }
        assert!(!wants_openmetrics(&HeaderMap::new()));
    }

    #[test]
    fn weights_are_read_as_the_rfc_writes_them() {
        for (text, thousandths) in [
            (None, 1000),
            (Some("1"), 1000),
            (Some("1.000"), 1000),
            (Some("0.75"), 750),
            (Some("0.005"), 5),
            (Some("0"), 0),
            (Some("0."), 0),
            (Some("1.5"), 0),
            (Some("2"), 0),
            (Some("0.1234"), 0),
            (Some("-1"), 0),
            (Some(""), 0),
        ] {
            assert_eq!(weight(text), thousandths, "{text:?}");
        }
    }
}
