//! HAProxy in HTTP mode. It does not buffer responses. Its limit of connections follows from its limit of files.

use std::process::Command;

use crate::front::Client;

use super::{Program, Stanza, on_path, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "haproxy",
    program: |_| Program::At(on_path("haproxy")),
    version: |program| version_of(program, "-v"),
    cannot: |setup| {
        setup
            .gzip
            .then_some("it compresses answers, and decompresses none")
    },
    command: |place| {
        let both = place
            .tls
            .as_ref()
            .map(|files| files.both.display().to_string());
        let speaks = match (both, place.setup.client) {
            (Some(both), Client::H2Tls) => format!("ssl crt {both} alpn h2"),
            (Some(both), _) => format!("ssl crt {both} alpn http/1.1"),
            (None, Client::H2) => "proto h2".to_owned(),
            (None, _) => String::new(),
        };
        let config = format!(
            "global
    nbthread {}
defaults
    mode http
    option http-no-delay
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend clients
    bind {} {speaks}
    default_backend models
backend models
    server model {}
",
            place.setup.workers, place.listen, place.upstream
        );
        let mut command = Command::new(place.program);
        command
            .args(["-db", "-f"])
            .arg(place.file("haproxy.cfg", &config)?);
        Ok(command)
    },
    ..Stanza::USUAL
};
