//! Parses what names a collector of spans and metrics: its URL and what Weir is called there.

use crate::config::error::shown;
use crate::config::{Endpoint, address};

/// Path that receives traces in OTLP/HTTP.
const TRACES_PATH: &str = "/v1/traces";
/// Path that receives metrics in OTLP/HTTP.
const METRICS_PATH: &str = "/v1/metrics";
/// Longest service name. It is limited because every export contains it.
const MAX_SERVICE_NAME: usize = 255;

/// Parses the URL of a collector of spans. Appends the path for traces unless the URL ends with it.
pub(crate) fn collector(text: &str) -> Result<Endpoint, String> {
    at_path(text, TRACES_PATH)
}

/// Parses the URL of a collector of metrics. Appends the path for metrics unless the URL ends with it.
pub(crate) fn metrics_collector(text: &str) -> Result<Endpoint, String> {
    at_path(text, METRICS_PATH)
}

/// Returns where the collector of these spans takes metrics.
pub(crate) fn metrics_beside(spans: &Endpoint) -> Endpoint {
    let mut endpoint = spans.clone();
    let kept = endpoint.path_prefix.strip_suffix(TRACES_PATH);
    endpoint.path_prefix = format!("{}{METRICS_PATH}", kept.unwrap_or_default());
    endpoint
}

fn at_path(text: &str, path: &str) -> Result<Endpoint, String> {
    let mut endpoint = address::endpoint(text)?;
    if !endpoint.path_prefix.ends_with(path) {
        endpoint.path_prefix.push_str(path);
    }
    Ok(endpoint)
}

/// Parses a service name: any printable text.
pub(crate) fn service_name(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_SERVICE_NAME).contains(&text.len()) && !text.contains(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a name (1 to {MAX_SERVICE_NAME} printable bytes)",
            shown(text)
        ))
    }
}
