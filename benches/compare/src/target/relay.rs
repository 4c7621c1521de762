//! The baseline: this program's own byte relay.

use std::process::Command;

use crate::front::Client;

use super::{Program, Stanza};

pub(super) const STANZA: Stanza = Stanza {
    name: "relay",
    program: |_| std::env::current_exe().map_or(Program::Unasked, Program::At),
    version: |_| Ok("copies bytes, 2 threads".to_owned()),
    cannot: |setup| {
        let reads = setup.client != Client::Http1 || setup.gzip;
        reads.then_some("it copies bytes and reads none")
    },
    command: |place| {
        let mut command = Command::new(place.program);
        command.args([
            "relay",
            &place.listen.to_string(),
            &place.upstream.to_string(),
        ]);
        Ok(command)
    },
    ..Stanza::USUAL
};
