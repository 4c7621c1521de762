//! The instruments: names, units and boundaries as the GenAI conventions give them.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::Ended;
use super::models::Models;

/// Boundaries of the time to the first token, seconds. Beyond the conventions' last one, 10 s, for slow agents.
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    15.0, 20.0, 30.0, 60.0,
];
/// Boundaries of the time per output token, seconds.
const PER_TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];
/// Boundaries of the duration, seconds. Beyond the conventions' last one, 81.92 s, for runs of agents.
const DURATION: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 655.36,
];
/// Boundaries of token counts: powers of 4.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// Measures finished streams by the names of the GenAI conventions.
#[derive(Debug)]
pub struct GenAi {
    first_token: Histogram<f64>,
    per_token: Histogram<f64>,
    duration: Histogram<f64>,
    tokens: Histogram<u64>,
    /// The models that answered.
    models: Models,
    /// The models that were asked for. Their number is bounded separately, because clients choose these names.
    asked: Models,
}

impl GenAi {
    /// Creates the instruments with `meter`.
    pub fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, tells: &'static str, boundaries: &[f64]| {
            meter
                .f64_histogram(name)
                .with_description(tells)
                .with_unit("s")
                .with_boundaries(boundaries.to_vec())
                .build()
        };
        Self {
            first_token: seconds(
                "gen_ai.server.time_to_first_token",
                "Time to generate first token for successful responses.",
                FIRST_TOKEN,
            ),
            per_token: seconds(
                "gen_ai.server.time_per_output_token",
                "Time per output token generated after the first token for successful responses.",
                PER_TOKEN,
            ),
            duration: seconds(
                "gen_ai.server.request.duration",
                "Generative AI server request duration such as time-to-last byte or last output token.",
                DURATION,
            ),
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_description("Number of input and output tokens used.")
                .with_unit("{token}")
                .with_boundaries(TOKENS.to_vec())
                .build(),
            models: Models::default(),
            asked: Models::default(),
        }
    }

    /// Measures a stream that has ended. Its attributes come from closed sets, and from a bounded number of models.
    pub fn record(&self, ended: &Ended<'_>) {
        let mut attributes = vec![KeyValue::new("gen_ai.operation.name", ended.operation)];
        let provider = ended.provider;
        attributes.extend(provider.map(|name| KeyValue::new("gen_ai.provider.name", name)));
        let mut name = |key: &'static str, names: &Models, model: Option<&str>| {
            let name = model.map(|model| names.name(model));
            attributes.extend(name.map(|name| KeyValue::new(key, name)));
        };
        name("gen_ai.request.model", &self.asked, ended.request_model);
        name("gen_ai.response.model", &self.models, ended.response_model);
        if ended.error.is_none() {
            if let Some(after) = ended.first_token {
                self.first_token.record(after.as_secs_f64(), &attributes);
            }
            if let Some(seconds) = ended.per_token {
                self.per_token.record(seconds, &attributes);
            }
        }
        let with = |more: KeyValue| {
            let mut attributes = attributes.clone();
            attributes.push(more);
            attributes
        };
        for (kind, count) in [
            ("input", ended.input_tokens),
            ("output", ended.output_tokens),
        ] {
            if let Some(count) = count {
                let attributes = with(KeyValue::new("gen_ai.token.type", kind));
                self.tokens.record(count, &attributes);
            }
        }
        let seconds = ended.duration.as_secs_f64();
        match ended.error {
            None => self.duration.record(seconds, &attributes),
            Some(error) => {
                let attributes = with(KeyValue::new("error.type", error));
                self.duration.record(seconds, &attributes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
    use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
    use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

    use super::*;

    const WELL: Ended<'static> = Ended {
        operation: "chat",
        provider: Some("openai"),
        request_model: Some("asked"),
        response_model: Some("m"),
        error: None,
        duration: Duration::from_secs(2),
        first_token: Some(Duration::from_millis(500)),
        per_token: Some(0.25),
        input_tokens: Some(9),
        output_tokens: None,
    };

    /// One series: its metric with its attributes in order, its sum and its count.
    type Series = (String, f64, u64);

    fn series<T: Copy>(name: &str, data: &MetricData<T>, plain: impl Fn(T) -> f64) -> Vec<Series> {
        let MetricData::Histogram(histogram) = data else {
            panic!("{name} is no histogram")
        };
        let points = histogram.data_points().map(|point| {
            let told = |one: &KeyValue| format!("{}={}", one.key, one.value);
            let mut attributes: Vec<String> = point.attributes().map(told).collect();
            attributes.sort();
            let name = format!("{name} {}", attributes.join(" "));
            (name, plain(point.sum()), point.count())
        });
        points.collect()
    }

    /// An exporter that keeps what it gets.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<Series>>>);

    impl PushMetricExporter for Kept {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            let mut kept = self.0.lock().unwrap();
            for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
                let name = metric.name();
                kept.extend(match metric.data() {
                    AggregatedMetrics::F64(data) => series(name, data, |sum| sum),
                    AggregatedMetrics::U64(data) => {
                        series(name, data, |sum| u32::try_from(sum).unwrap().into())
                    }
                    AggregatedMetrics::I64(_) => panic!("{name} has signed numbers"),
                });
            }
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    /// Returns what is exported of these streams.
    fn measured(streams: &[Ended<'_>]) -> Vec<Series> {
        let kept = Kept::default();
        let reader = PeriodicReader::builder(kept.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let gen_ai = GenAi::new(&provider.meter("weir"));
        for ended in streams {
            gen_ai.record(ended);
        }
        provider.force_flush().unwrap();
        let mut series = std::mem::take(&mut *kept.0.lock().unwrap());
        series.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        series
    }

    const OF: &str = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=asked gen_ai.response.model=m";

    #[test]
    fn a_stream_that_ends_well_is_measured_in_full() {
        let both = Ended {
            output_tokens: Some(7),
            ..WELL
        };
        let expected = [
            (
                format!("gen_ai.client.token.usage {OF} gen_ai.token.type=input"),
                18.0,
                2,
            ),
            (
                format!("gen_ai.client.token.usage {OF} gen_ai.token.type=output"),
                7.0,
                1,
            ),
            (format!("gen_ai.server.request.duration {OF}"), 4.0, 2),
            (format!("gen_ai.server.time_per_output_token {OF}"), 0.5, 2),
            (format!("gen_ai.server.time_to_first_token {OF}"), 1.0, 2),
        ];
        assert_eq!(measured(&[WELL, both]), expected);
    }

    #[test]
    fn a_stream_in_trouble_has_a_duration_and_its_tokens() {
        let trouble = Ended {
            provider: None,
            request_model: None,
            response_model: None,
            error: Some("idle_timeout"),
            ..WELL
        };
        let operation = "gen_ai.operation.name=chat";
        let expected = [
            (
                format!("gen_ai.client.token.usage {operation} gen_ai.token.type=input"),
                9.0,
                1,
            ),
            (
                format!("gen_ai.server.request.duration error.type=idle_timeout {operation}"),
                2.0,
                1,
            ),
        ];
        assert_eq!(measured(&[trouble]), expected);
    }
}
