//! Parses what names a collector of spans: its URL and what Weir is called there.

use crate::config::error::shown;
use crate::config::{Endpoint, address};

/// Path that receives traces in OTLP/HTTP.
const TRACES_PATH: &str = "/v1/traces";
/// Longest service name. It is limited because every export contains it.
const MAX_SERVICE_NAME: usize = 255;

/// Parses the URL of a collector. Appends the path for traces unless the URL ends with it.
pub(crate) fn collector(text: &str) -> Result<Endpoint, String> {
    let mut endpoint = address::endpoint(text)?;
    if !endpoint.path_prefix.ends_with(TRACES_PATH) {
        endpoint.path_prefix.push_str(TRACES_PATH);
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
