//! Weir, with defaults except for the number of workers. So it logs a line per stream, which the others do not.

use std::process::Command;

use anyhow::Result;

use super::{Place, Program, Stanza, WORKERS, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "weir",
    program: |options| Program::At(options.weir.clone()),
    version: |program| version_of(program, "--version"),
    command,
};

/// Another build of Weir, from before a change whose effect is measured.
pub(super) const BEFORE: Stanza = Stanza {
    name: "before",
    program: |options| options.before.clone().map_or(Program::Unasked, Program::At),
    ..STANZA
};

fn command(place: &Place<'_>) -> Result<Command> {
    let config = format!(
        "listen: {}
admin: {{listen: off}}
workers: {WORKERS}
upstreams:
  model: {{endpoints: [\"http://{}\"]}}
",
        place.listen, place.upstream
    );
    let mut command = Command::new(place.program);
    command
        .args(["serve", "--config"])
        .arg(place.file("weir.yaml", &config)?);
    Ok(command)
}
