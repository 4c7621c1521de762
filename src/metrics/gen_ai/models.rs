//! Limits how many names of models become label values, so that neither clients nor upstreams can create series without
//! end.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::Value;

/// Maximum number of models that have series of their own. The others share one.
const MAX_MODELS: usize = 50;
/// Stands for the models without a series of their own.
const OTHER: &str = "other";

/// The models that have been seen.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<HashSet<Arc<str>>>);

impl Models {
    /// Returns what a model is called in the metrics.
    pub(super) fn name(&self, model: &str) -> Value {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(model) {
            return Arc::clone(name).into();
        }
        if known.len() >= MAX_MODELS {
            return OTHER.into();
        }
        let name: Arc<str> = model.into();
        known.insert(Arc::clone(&name));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_beyond_the_bound_share_a_name() {
        let models = Models::default();
        for number in 0..MAX_MODELS {
            let model = format!("m{number}");
            assert_eq!(models.name(&model).as_str(), model);
        }
        assert_eq!(models.name("one more").as_str(), OTHER);
        assert_eq!(
            models.name("m7").as_str(),
            "m7",
            "those that have one keep it"
        );
    }
}
