//! The dialect of unrecognised streams: every event is critical and passes verbatim.

use super::spec::{DialectSpec, PLAIN, Unknown};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "opaque",
    parser: |_| Box::new(Unknown),
    generic: true,
    ..PLAIN
};
