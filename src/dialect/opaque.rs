//! The dialect of unrecognised streams: every event is critical and passes verbatim.

use super::spec::{DialectSpec, PLAIN, ResumeIds, Unknown};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "opaque",
    parser: |_| Box::new(Unknown),
    generic: true,
    // Whoever writes events of a form of its own reads them with a library for events, or by hand.
    resume_ids: ResumeIds::Used,
    ..PLAIN
};
