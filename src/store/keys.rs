//! The names of keys.

/// Names the keys of streams and processes. The id of a stream stands in braces, so that all its keys lie in one slot
/// of a cluster.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The Redis stream with the events of a stream.
    pub(super) fn events(&self, id: &str) -> String {
        format!("{}{{{id}}}:s", self.prefix)
    }

    /// What is known of a stream.
    pub(super) fn meta(&self, id: &str) -> String {
        format!("{}{{{id}}}:m", self.prefix)
    }

    /// The stream that is remembered under a name.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}name:{name}", self.prefix)
    }

    /// The lease of a process.
    pub(super) fn owner(&self, instance: &str) -> String {
        format!("{}owner:{instance}", self.prefix)
    }

    /// What other processes ask of a process. One key for all its streams: nobody wants to read thousands of keys for
    /// a message that comes once in an hour.
    pub(super) fn control(&self, instance: &str) -> String {
        format!("{}control:{instance}", self.prefix)
    }

    /// The key of the digests of callers.
    pub(super) fn secret(&self) -> String {
        format!("{}key", self.prefix)
    }

    /// What `weir check --probe` writes and deletes again.
    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_stream_share_a_slot() {
        let keys = Keys::new("weir:");
        assert_eq!(keys.events("0a"), "weir:{0a}:s");
        assert_eq!(keys.meta("0a"), "weir:{0a}:m");
        assert_eq!(keys.owner("1"), "weir:owner:1");
        let others = [
            keys.name("n"),
            keys.control("1"),
            keys.secret(),
            keys.probe(),
        ];
        assert!(others.iter().all(|key| key.starts_with("weir:")));
    }
}
