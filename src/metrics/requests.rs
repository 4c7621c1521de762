//! Counts the requests of a route by their exact status code.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use prometheus::{IntCounter, IntCounterVec};

/// Request counters by exact status code. The upstream chooses the code, so a series is created when it is
/// first seen. Codes from 100 to 599 each get their own; higher ones share one.
#[derive(Debug)]
pub(super) struct Requests {
    family: IntCounterVec,
    codes: RwLock<HashMap<(&'static str, u16), IntCounter>>,
}

impl Requests {
    pub(super) fn new(family: &IntCounterVec) -> Self {
        Self {
            family: family.clone(),
            codes: RwLock::default(),
        }
    }

    /// Counts a request of `route` that was answered with `code`.
    pub(super) fn count(&self, route: &str, kind: &'static str, code: u16) {
        let key = (kind, if code < 600 { code } else { 0 });
        if let Some(counter) = self
            .codes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            counter.inc();
            return;
        }
        let text = if key.1 == 0 {
            "other".to_owned()
        } else {
            code.to_string()
        };
        let counter = self.family.with_label_values(&[route, kind, text.as_str()]);
        counter.inc();
        self.codes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, counter);
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn codes_are_bounded() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        for code in 100..=999 {
            route.request("unary", http::StatusCode::from_u16(code).unwrap());
        }
        assert_eq!(metrics.encode().matches("kind=\"unary\"").count(), 501);
    }
}
