//! The reasons for which requests are refused before a route takes them.

/// Lists the reasons once: none can be without a word, or be missing in `ALL`.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// Why a request was refused before a route took it: the label `reason` of `weir_requests_refused_total`, and
        /// the error code for clients and the log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $name,)+
        }

        impl Refusal {
            /// Every reason, by name.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the word of the metrics, which is the error code, too.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

reasons! {
    /// The request's target, `Host`, `Transfer-Encoding`, `Upgrade` or metadata is invalid or ambiguous.
    BadRequest = "bad_request",
    /// The process shuts down.
    Draining = "draining",
    /// The request expects something other than `100-continue`.
    ExpectationFailed = "expectation_failed",
    /// An upstream leads back to Weir.
    LoopDetected = "loop_detected",
    /// The input is not HTTP, or its head is too large.
    Malformed = "malformed",
    /// CONNECT, or a method that the probe does not take.
    MethodNotAllowed = "method_not_allowed",
    /// No route takes it.
    NotFound = "not_found",
    /// Memory is short, or there are too many requests.
    Overloaded = "overloaded",
    /// The probe has as many streams as it may have.
    ProbeBusy = "probe_busy",
    /// The query of a request for the probe is wrong.
    ProbeMalformed = "probe_malformed",
    /// The probe knows no stream with the id that is asked for.
    ProbeUnknown = "probe_unknown",
    /// The route does not offer the reply that is asked for.
    ReplyNotOffered = "reply_not_offered",
    /// The request's head was not complete in time.
    RequestHead = "request_head",
    /// The request has too many headers.
    TooManyHeaders = "too_many_headers",
    /// The request's body has a transfer coding other than `chunked`.
    TransferCodingNotSupported = "transfer_coding_not_supported",
    /// The request asks for an upgrade that nobody here serves.
    UpgradeNotSupported = "upgrade_not_supported",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// A test against a real scrape checks that the docs list the same reasons.
    #[test]
    fn each_reason_has_a_word_and_a_series_from_the_start() {
        let words: Vec<&str> = Refusal::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.is_sorted_by(|one, next| one < next), "{words:?}");
        let metrics = Metrics::new();
        for reason in Refusal::ALL {
            metrics.refused(*reason);
        }
        for metrics in [metrics, Metrics::new()] {
            let text = metrics.encode();
            let series = text.lines().filter_map(|line| {
                let rest = line.strip_prefix("weir_requests_refused_total{reason=\"")?;
                rest.split('"').next()
            });
            assert_eq!(series.collect::<Vec<_>>(), words);
        }
    }
}
