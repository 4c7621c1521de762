//! Writes metrics in the OpenMetrics text format 1.0.0, which the crate `prometheus` does not know.
//!
//! Samples have the same names and label values as in the older text format, so a series is the same in both formats.
//! In addition, the buckets of some histograms have exemplars.

use std::fmt::Write as _;
use std::time::SystemTime;

use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::exemplars::Exemplar;

/// The content type of the format.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the exemplars of a histogram, by its family and its labels, in the order of its buckets.
pub(super) type Find<'a> = &'a dyn Fn(&str, &[LabelPair]) -> Vec<Option<Exemplar>>;

/// Returns `families` as text.
pub(super) fn encode(families: &[MetricFamily], find: Find<'_>) -> String {
    let mut text = String::new();
    for family in families {
        let kind = family.get_field_type();
        let (word, name) = match kind {
            // The family is named without the suffix that its samples have.
            MetricType::COUNTER => ("counter", stem(family.name())),
            MetricType::GAUGE => ("gauge", family.name()),
            MetricType::HISTOGRAM => ("histogram", family.name()),
            // Weir has none.
            MetricType::SUMMARY | MetricType::UNTYPED => continue,
        };
        line(&mut text, &["# HELP ", name, " ", &escaped(family.help())]);
        line(&mut text, &["# TYPE ", name, " ", word]);
        for metric in family.get_metric() {
            if kind == MetricType::HISTOGRAM {
                histogram(&mut text, name, metric, &find(name, metric.get_label()));
                continue;
            }
            let (suffix, value) = if kind == MetricType::COUNTER {
                ("_total", metric.get_counter().get_value())
            } else {
                ("", metric.get_gauge().get_value())
            };
            sample(&mut text, name, suffix, metric, None, &number(value));
            text.push('\n');
        }
    }
    text.push_str("# EOF\n");
    text
}

/// Returns the name of a counter's family: the name of its samples without their suffix.
fn stem(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

fn histogram(text: &mut String, name: &str, metric: &Metric, exemplars: &[Option<Exemplar>]) {
    let histogram = metric.get_histogram();
    for (at, (edge, count)) in all_buckets(histogram).enumerate() {
        let count = count.to_string();
        sample(text, name, "_bucket", metric, Some(&edge), &count);
        if let Some(exemplar) = exemplars.get(at).copied().flatten() {
            write_exemplar(text, &exemplar);
        }
        text.push('\n');
    }
    let count = histogram.get_sample_count().to_string();
    sample(text, name, "_count", metric, None, &count);
    text.push('\n');
    let sum = number(histogram.get_sample_sum());
    sample(text, name, "_sum", metric, None, &sum);
    text.push('\n');
}

/// Returns the buckets with their upper bounds, which are written as in the older format. The last one has no bound.
fn all_buckets(histogram: &Histogram) -> impl Iterator<Item = (String, u64)> {
    let buckets = histogram.get_bucket().iter();
    let bounded = buckets.filter(|bucket| bucket.upper_bound().is_finite());
    let last = ("+Inf".to_owned(), histogram.get_sample_count());
    bounded
        .map(|bucket| (bucket.upper_bound().to_string(), bucket.cumulative_count()))
        .chain([last])
}

/// Writes an exemplar behind its sample: ` # {trace_id="..."} value time`.
fn write_exemplar(text: &mut String, exemplar: &Exemplar) {
    let since = exemplar.at.duration_since(SystemTime::UNIX_EPOCH);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        " # {{trace_id=\"{}\"}} {} {:.3}",
        exemplar.trace.as_str(),
        number(exemplar.value),
        since.unwrap_or_default().as_secs_f64()
    );
}

/// Writes a sample without the end of its line. `edge` is the upper bound of a bucket.
fn sample(
    text: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    edge: Option<&str>,
    value: &str,
) {
    text.push_str(name);
    text.push_str(suffix);
    let labels = metric.get_label().iter();
    let labels = labels.map(|label| (label.name(), escaped(label.value())));
    let edge = edge.map(|edge| ("le", edge.to_owned()));
    let mut opens = "{";
    for (name, value) in labels.chain(edge) {
        text.extend([opens, name, "=\"", &value, "\""]);
        opens = ",";
    }
    if opens == "," {
        text.push('}');
    }
    text.extend([" ", value]);
}

fn line(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
    text.push('\n');
}

/// Returns a number as the format has it.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// Escapes what a label value or a help text cannot have as it is.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::metrics::exemplars::TraceId;
    use crate::metrics::{Metrics, buckets};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// Returns a metric's samples: names and labels, with their values.
    fn samples(text: &str) -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let told = |line: &str| line.split(" # ").next().unwrap().to_owned();
        lines.map(told).collect()
    }

    /// The values of the process change between two scrapes.
    fn own(samples: BTreeSet<String>) -> BTreeSet<String> {
        let own = |line: &String| line.starts_with("weir_");
        samples.into_iter().filter(own).collect()
    }

    #[test]
    fn both_formats_have_the_same_samples() {
        let metrics = Metrics::new();
        let route = metrics.route("a \"b\" \\c");
        route.stream_seconds.observe(1.0);
        route.gap.observe(Duration::from_millis(30));
        route.held.inc_by(0.25);
        let (old, new) = (metrics.encode(), metrics.encode_openmetrics());
        assert_eq!(own(samples(&old)), own(samples(&new)));
        assert!(samples(&new).len() > 300);
        assert!(new.ends_with("\n# EOF\n"));
        assert!(
            new.contains("route=\"a \\\"b\\\" \\\\c\""),
            "label values are escaped"
        );
    }

    #[test]
    fn no_two_families_have_one_name() {
        let metrics = Metrics::new();
        let _route = metrics.route("chat");
        let text = metrics.encode_openmetrics();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len());
        assert!(names.contains(&"weir_streams") && !names.contains(&"weir_streams_total"));
    }

    #[test]
    fn every_counter_has_the_suffix() {
        for family in Metrics::new().registry.gather() {
            if family.get_field_type() == MetricType::COUNTER {
                assert!(family.name().ends_with("_total"), "{}", family.name());
            }
        }
    }

    #[test]
    fn the_last_stream_of_a_bucket_is_its_exemplar() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        let millis = Duration::from_millis;
        let trace = TraceId::parse(TRACE).unwrap();
        route.keep_exemplar(trace, millis(700), [Some(millis(30)), None, None]);
        let text = metrics.encode_openmetrics();
        let with: Vec<&str> = text.lines().filter(|line| line.contains(" # ")).collect();
        let [duration, first] = with.as_slice() else {
            panic!("two exemplars: {with:?}")
        };
        assert!(
            duration.starts_with(
                "weir_stream_duration_seconds_bucket{route=\"chat\",le=\"1\"} 0 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.7 "
            ),
            "{duration}"
        );
        assert!(
            first.starts_with("weir_time_to_first_token_seconds_bucket{kind=\"answer\",route=\"chat\",le=\"0.04\"} "),
            "{first}"
        );
        assert!(!metrics.encode().contains(TRACE), "not in the older format");
    }

    #[test]
    fn buckets_and_numbers_are_written_as_in_the_older_format() {
        assert_eq!(buckets::ADDED[0].to_string(), "0.00005");
        for (value, text) in [
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (2.0, "2"),
            (0.1, "0.1"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
