//! Weir, with every default but the number of workers.

use std::process::Command;

use super::{Stanza, WORKERS, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "weir",
    program: |options| Some(options.weir.clone()),
    version: |program| version_of(program, "--version"),
    command: |place| {
        let config = format!(
            "listen: {}\nadmin:\n  listen: off\nworkers: {WORKERS}\n\
             upstreams:\n  model:\n    endpoints: [\"http://{}\"]\n",
            place.listen, place.upstream
        );
        let mut command = Command::new(place.program);
        command
            .args(["serve", "--config"])
            .arg(place.file("weir.yaml", &config)?);
        Ok(command)
    },
};
