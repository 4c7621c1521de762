//! No proxy: the cost of the model, the kernel and the load generator alone.

use super::Stanza;

pub(super) const STANZA: Stanza = Stanza {
    name: "direct",
    version: |_| Ok("no proxy".to_owned()),
    ..Stanza::USUAL
};
