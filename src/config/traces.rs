//! Checks the section `traces`: the collectors that spans and metrics are exported to, and the headers of an export.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};

use crate::config::defaults as preset;
use crate::config::error::{Path, Report, shown};
use crate::config::kind::or;
use crate::config::raw::{self, Root};
use crate::config::{Endpoint, MetricsExport, SecretField, Traces, collector, secret, upstreams};

/// OpenTelemetry's variable with the URL of the collector of metrics.
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
/// OpenTelemetry's variable with the time between two exports of metrics, in milliseconds.
const INTERVAL_VARIABLE: &str = "OTEL_METRIC_EXPORT_INTERVAL";

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
        "this build exports neither spans nor metrics; it needs the cargo feature `otel`, which release images have",
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
    let metrics = metrics(raw, collector.as_ref(), &path, report);
    let of_metrics = metrics.iter().map(|metrics| &metrics.collector);
    let endpoints: Vec<Endpoint> = collector.iter().chain(of_metrics).cloned().collect();
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
        metrics,
    }
}

/// Checks where metrics go, and how often; returns `None` if they are not exported.
fn metrics(
    raw: &raw::Traces,
    spans: Option<&Endpoint>,
    path: &Path,
    report: &mut Report,
) -> Option<MetricsExport> {
    let on = raw.metrics.as_ref().filter(|on| on.value)?;
    if let Some(why) = missing(cfg!(feature = "otel")) {
        report.at(on.place, &path.key("metrics"), why);
        return None;
    }
    let written = raw.metrics_endpoint.as_ref();
    let endpoint = written.and_then(|endpoint| endpoint.value.clone());
    let key = path.key("metrics_endpoint");
    let collector = endpoint
        .or_else(|| {
            variable(
                ENDPOINT_VARIABLE,
                collector::metrics_collector,
                &key,
                report,
            )
        })
        .or_else(|| spans.map(collector::metrics_beside));
    let Some(collector) = collector else {
        let why = format!(
            "needs a collector: set `metrics_endpoint` or `endpoint` beside it, or the variable `{ENDPOINT_VARIABLE}`"
        );
        report.at(on.place, &path.key("metrics"), why);
        return None;
    };
    let written = raw.metrics_interval.as_ref();
    let interval = written.and_then(|interval| interval.value);
    let key = path.key("metrics_interval");
    let interval = interval
        .or_else(|| variable(INTERVAL_VARIABLE, milliseconds, &key, report))
        .unwrap_or(preset::METRICS_INTERVAL.value);
    Some(MetricsExport {
        collector,
        interval,
    })
}

/// Returns the value of an environment variable, if it is set and not empty.
fn variable<T>(
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
    key: &Path,
    report: &mut Report,
) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    let refused = |why: String| {
        let why = format!("the variable `{name}`, which holds while this key is `null`: {why}");
        report.of(key.as_str(), why);
    };
    parse(&text).map_err(refused).ok()
}

/// Parses a time between two exports of metrics, as OpenTelemetry's variable has it.
fn milliseconds(text: &str) -> Result<Duration, String> {
    let (low, high) = raw::METRICS_INTERVALS;
    let time = text.trim().parse().ok().map(Duration::from_millis);
    let allowed = time.filter(|time| (low..=high).contains(time));
    allowed.ok_or_else(|| {
        let (low, high) = (low.as_millis(), high.as_millis());
        format!(
            "{} is not a number of milliseconds from {low} to {high}",
            shown(text)
        )
    })
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
    fn metrics_have_a_path_of_their_own() {
        for (text, path) in [
            ("http://c:4318", "/v1/metrics"),
            ("https://c/otlp", "/otlp/v1/metrics"),
            ("http://c/v1/metrics", "/v1/metrics"),
        ] {
            let endpoint = collector::metrics_collector(text).unwrap();
            assert_eq!(endpoint.path_prefix, path, "{text}");
        }
        for (spans, path) in [
            ("http://c:4318", "/v1/metrics"),
            ("https://c/otlp", "/otlp/v1/metrics"),
            ("unix:/run/c.sock", "/v1/metrics"),
        ] {
            let spans = collector(spans).unwrap();
            let metrics = collector::metrics_beside(&spans);
            assert_eq!(metrics.path_prefix, path);
            assert_eq!(metrics.target, spans.target);
        }
    }

    #[test]
    fn the_variable_is_in_milliseconds_and_has_the_bounds_of_the_key() {
        for (text, seconds) in [("1000", 1), (" 60000 ", 60), ("3600000", 3600)] {
            assert_eq!(milliseconds(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "999", "3600001", "1s", "-1", "1.5"] {
            let refused = milliseconds(text).unwrap_err();
            assert!(refused.contains("from 1000 to 3600000"), "{refused}");
        }
    }

    #[cfg(feature = "otel")]
    #[test]
    fn metrics_go_where_the_spans_go_unless_they_have_a_collector() {
        let refused = load("{metrics: true}").unwrap_err();
        assert!(refused.contains("needs a collector"), "{refused}");
        assert_eq!(load("{endpoint: \"http://c:4318\"}").unwrap().metrics, None);
        let beside = load("{endpoint: \"http://c:4318\", metrics: true}").unwrap();
        let metrics = beside.metrics.unwrap();
        assert_eq!(metrics.collector.path_prefix, "/v1/metrics");
        assert_eq!(metrics.collector.authority, "c:4318");
        assert_eq!(metrics.interval, Duration::from_secs(60));
        let alone = "{metrics: true, metrics_endpoint: \"http://m/otlp\", metrics_interval: 5s}";
        let alone = load(alone).unwrap();
        assert_eq!(alone.collector, None);
        let metrics = alone.metrics.unwrap();
        assert_eq!(metrics.collector.path_prefix, "/otlp/v1/metrics");
        assert_eq!(metrics.interval, Duration::from_secs(5));
        assert!(load("{metrics_interval: 0s}").is_err());
        assert!(load("{metrics_interval: 2h}").is_err());
    }

    #[test]
    fn a_build_without_the_feature_refuses_an_endpoint() {
        let metrics = load("{metrics: true, metrics_endpoint: \"http://c:4318\"}");
        assert_eq!(metrics.is_ok(), cfg!(feature = "otel"));
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
