//! Caddy, configured to forward each write immediately.

use std::process::Command;

use super::{Program, Stanza, WORKERS, on_path, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "caddy",
    program: |_| Program::At(on_path("caddy")),
    version: |program| version_of(program, "version"),
    command: |place| {
        let config = format!(
            "{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
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
        command.env("GOMAXPROCS", WORKERS.to_string());
        // Use its own directories, not the user's.
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, place.directory);
        }
        Ok(command)
    },
};
