//! No proxy: the cost of the model, the kernel and the load generator alone.

use anyhow::bail;

use super::{Program, Stanza};

pub(super) const STANZA: Stanza = Stanza {
    name: "direct",
    program: |_| Program::None,
    version: |_| Ok("no proxy".to_owned()),
    command: |_| bail!("there is nothing to start"),
};
