//! What nobody recognised: each event is critical and verbatim.

use super::shape::{PLAIN, Shape, Unknown};

pub(super) const SHAPE: Shape = Shape {
    word: "opaque",
    grammar: |_| Box::new(Unknown),
    ..PLAIN
};
