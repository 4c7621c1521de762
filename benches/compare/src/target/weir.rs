//! Weir, with defaults except for the number of workers. So it logs a line per stream, which the others do not.

use std::process::Command;

use anyhow::Result;

use super::{Place, Program, Stanza, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "weir",
    program: |options| Program::At(options.weir.clone()),
    version: |program| version_of(program, "--version"),
    command: |place| start(place, ""),
    ..Stanza::USUAL
};

/// Another build of Weir, from before a change whose effect is measured.
pub(super) const BEFORE: Stanza = Stanza {
    name: "before",
    program: |options| options.before.clone().map_or(Program::Unasked, Program::At),
    is_weir: true,
    ..STANZA
};

/// Writes the configuration with some more sections, and returns the command.
pub(super) fn start(place: &Place<'_>, sections: &str) -> Result<Command> {
    let tls = place.tls.as_ref().map_or_else(String::new, |files| {
        format!(
            ", tls: {{cert: \"{}\", key: \"{}\"}}",
            files.certificate.display(),
            files.key.display()
        )
    });
    let admin = place
        .admin
        .map_or_else(|| "off".to_owned(), |address| address.to_string());
    let config = format!(
        "listen: [{{address: \"{}\"{tls}}}]
admin: {{listen: \"{admin}\"}}
workers: {}
upstreams:
  model: {{endpoints: [\"http://{}\"]}}
{sections}",
        place.listen, place.setup.workers, place.upstream
    );
    let mut command = Command::new(place.program);
    command
        .args(["serve", "--config"])
        .arg(place.file("weir.yaml", &config)?);
    Ok(command)
}
