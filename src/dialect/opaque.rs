//! What nobody recognised: each event is critical and verbatim.

use super::spec::{DialectSpec, PLAIN, Unknown};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "opaque",
    parser: |_| Box::new(Unknown),
    ..PLAIN
};
