//! Checks the section `traces`: the collector that spans are exported to, and the headers of an export.

use http::{HeaderName, HeaderValue, header};

use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::kind::or;
use crate::config::raw::{self, Root};
use crate::config::{Endpoint, SecretField, Traces, secret, upstreams};

/// Headers that control the framing of an export request. Only the exporter may set them.
pub(crate) const FRAMING: [HeaderName; 12] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Returns why a build cannot export, if it is one `with_export` or not.
const fn missing(with_export: bool) -> Option<&'static str> {
    if with_export {
        return None;
    }
    Some(
        "this build has no trace export; it needs the cargo feature `otel`, which release images have",
    )
}

/// Checks the section. On a reload, a secret that cannot be read is not an error, because a running process keeps its
/// trace settings: a change is only logged.
pub(crate) fn checked(root: &Root, is_reload: bool, report: &mut Report) -> Traces {
    let none = raw::Traces::default();
    let raw = root.traces.as_ref().map_or(&none, |traces| &traces.value);
    let path = Path::default().key("traces");
    let collector = raw.endpoint.as_ref().and_then(|endpoint| {
        let collector = endpoint.value.clone()?;
        if let Some(why) = missing(cfg!(feature = "otel")) {
            report.at(endpoint.place, &path.key("endpoint"), why);
        }
        Some(collector)
    });
    let written = raw
        .headers
        .as_ref()
        .map_or(&[][..], |headers| &headers.value);
    let fields = written.iter().filter_map(|(name, source)| {
        let mut refuse = |why: String| {
            report.at(source.place, &path.key("headers").key(name.as_str()), why);
        };
        if FRAMING.contains(name) {
            refuse("says how an export is framed, which is the exporter's to say".to_owned());
            return None;
        }
        let value = match secret::read(&source.value) {
            Err(_) if is_reload => Ok(HeaderValue::from_static("")),
            read => read.map_err(refuse),
        };
        Some(SecretField {
            name: name.clone(),
            source: source.value.clone(),
            value: value.ok()?,
        })
    });
    let headers = fields.collect();
    let endpoints: Vec<Endpoint> = collector.iter().cloned().collect();
    let service_name = raw
        .service_name
        .as_ref()
        .and_then(|name| name.value.clone());
    Traces {
        headers,
        service_name,
        sample: or(raw.sample.as_ref(), preset::SAMPLE.value),
        tls: upstreams::tls(raw.tls.as_ref(), &endpoints, &path.key("tls"), report),
        collector,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::collector::collector;
    use crate::config::{self, Overrides};

    fn load(traces: &str) -> Result<Traces, String> {
        let agent = "upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}";
        let text = format!("{agent}\ntraces: {traces}\n");
        config::load(Some(("f", &text)), &Overrides::default())
            .map(|config| config.traces)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_path_is_appended_once() {
        for (text, path) in [
            ("http://c:4318", "/v1/traces"),
            ("http://c:4318/", "/v1/traces"),
            ("https://c/otlp", "/otlp/v1/traces"),
            ("http://c/v1/traces", "/v1/traces"),
            ("unix:/run/c.sock", "/v1/traces"),
        ] {
            assert_eq!(collector(text).unwrap().path_prefix, path, "{text}");
        }
        assert!(collector("c:4318").is_err());
    }

    #[test]
    fn a_build_without_the_feature_refuses_an_endpoint() {
        assert!(missing(false).is_some_and(|why| why.contains("cargo feature `otel`")));
        let has_export = cfg!(feature = "otel");
        assert_eq!(missing(has_export).is_none(), has_export);
        assert_eq!(load("{endpoint: \"http://c:4318\"}").is_ok(), has_export);
        assert!(load("{endpoint: null, sample: 0.5}").is_ok());
    }

    #[test]
    fn how_an_export_is_framed_is_no_field_of_the_file() {
        for name in FRAMING {
            let refused = load(&format!("{{headers: {{{name}: \"env:PATH\"}}}}")).unwrap_err();
            assert!(
                refused.contains(&format!("traces.headers.{name}: ")),
                "{refused}"
            );
        }
        assert!(load("{headers: {Content-Length: \"env:PATH\"}}").is_err());
    }

    #[test]
    fn only_a_process_that_starts_needs_its_secrets() {
        let text = "upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}\n\
            traces: {headers: {authorization: \"file:/no/such\"}}\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let refused = config::load_file(file.path(), &Overrides::default()).unwrap_err();
        assert!(refused.to_string().contains("traces.headers.authorization"));
        let loaded = config::reload_file(file.path(), &Overrides::default()).unwrap();
        assert_eq!(loaded.traces.headers[0].value, "");
    }

    #[cfg(feature = "otel")]
    #[test]
    fn a_whole_section_is_effective_without_its_secrets() {
        let traces = "{endpoint: \"https://c/otlp\", headers: {authorization: \"env:PATH\"}, service_name: edge, sample: 0.25}";
        let loaded = load(traces).unwrap();
        assert_eq!(loaded.headers[0].name, "authorization");
        assert!((loaded.sample - 0.25).abs() < f64::EPSILON);
        let secret = std::env::var("PATH").unwrap();
        assert!(!format!("{loaded:?}").contains(&secret));
    }
}
