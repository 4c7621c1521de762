//! HAProxy in HTTP mode. It does not buffer responses. Its limit of connections follows from its limit of files.

use std::process::Command;

use super::{Program, Stanza, WORKERS, on_path, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "haproxy",
    program: |_| Program::At(on_path("haproxy")),
    version: |program| version_of(program, "-v"),
    command: |place| {
        let config = format!(
            "global
    nbthread {WORKERS}
defaults
    mode http
    option http-no-delay
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend clients
    bind {}
    default_backend models
backend models
    server model {}
",
            place.listen, place.upstream
        );
        let mut command = Command::new(place.program);
        command
            .args(["-db", "-f"])
            .arg(place.file("haproxy.cfg", &config)?);
        Ok(command)
    },
};
