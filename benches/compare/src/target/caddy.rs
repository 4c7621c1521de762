//! Caddy, configured to forward each write immediately.

use std::process::Command;

use crate::front::Client;

use super::{Program, Stanza, on_path, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "caddy",
    program: |_| Program::At(on_path("caddy")),
    version: |program| version_of(program, "version"),
    command: |place| {
        let (scheme, tls) = match &place.tls {
            Some(files) => (
                "https",
                format!(
                    "tls {} {}",
                    files.certificate.display(),
                    files.key.display()
                ),
            ),
            None => ("http", String::new()),
        };
        // Without HTTP/3.
        let servers = if place.setup.client == Client::Http1 {
            ""
        } else {
            "servers {
        protocols h1 h2 h2c
    }"
        };
        // Its transport asks the model for gzip and decompresses it, if the client asks for nothing.
        let config = format!(
            "{{
    admin off
    auto_https off
    {servers}
}}
{scheme}://:{port} {{
    bind 127.0.0.1
    {tls}
    reverse_proxy {upstream} {{
        flush_interval -1
    }}
}}
",
            port = place.listen.port(),
            upstream = place.upstream
        );
        let mut command = Command::new(place.program);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(place.file("Caddyfile", &config)?);
        command.env("GOMAXPROCS", place.setup.workers.to_string());
        // Use its own directories, not the user's.
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, place.directory);
        }
        Ok(command)
    },
    ..Stanza::USUAL
};
