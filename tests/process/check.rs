//! `weir check` as a program: what it writes where, and its exit code.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const AGENT: &str = "upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}\n";
/// No test depends on which ports of the machine are free.
const ANY_PORT: &str = "listen: \"127.0.0.1:0\"\nadmin: {listen: off}\nlimits: {memory: 64MiB}\n";

fn weir(words: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(words)
        .arg(file)
        .output()
        .unwrap()
}

/// A file with this text. It is deleted when dropped.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn mistakes_in_yaml_do_not_hide_others() {
    let file = file(
        "listen: [\":8080\"\nupstreams:\n  agent:\n    endpoints: 127.0.0.1:8000\n    pool_idle: s3cret: 1\nworkers: none\n",
    );
    let checked = weir(&["check"], file.path());
    assert_eq!(checked.status.code(), Some(2));
    assert!(checked.stdout.is_empty());
    let said = text(checked.stderr);
    let name = file.path().display();
    let begins = [
        format!("{name}:1:9: not valid YAML: this `[` is never closed; add a `]`"),
        "  1 | listen: [\"***\"".to_owned(),
        "    |         ^".to_owned(),
        format!("{name}:4:16: upstreams.agent.endpoints: is not a URL; it must begin with"),
        format!("{name}:5:22: not valid YAML: a second `: ` in one value"),
        "  5 |     pool_idle: ***: ***".to_owned(),
        "    |                   ^".to_owned(),
        format!("{name}:6:10: workers: `none` is not a whole number"),
        format!("{name}: 4 problems"),
    ];
    assert_eq!(said.lines().count(), begins.len(), "{said}");
    for (line, begin) in said.lines().zip(&begins) {
        assert!(line.starts_with(begin.as_str()), "{said}\nwanted {begin}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn what_check_prints_passes_the_check_and_stays_the_same() {
    let routes = "routes:\n  - {name: \"off\", match: {headers: {x-team: s3cret}}, heartbeat: off}\n  - name: rest\n";
    let first = file(&format!("{ANY_PORT}{AGENT}{routes}"));
    let checked = weir(&["check"], first.path());
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let printed = text(checked.stdout);
    assert!(!printed.contains("s3cret"), "{printed}");
    assert!(
        printed.contains("\nlisten:\n  - address: \"127.0.0.1:0\"\n"),
        "{printed}"
    );
    let second = file(&printed);
    let again = weir(&["check"], second.path());
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let keys = |text: &str| {
        let keys = text.lines().filter(|line| !line.starts_with('#'));
        keys.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(keys(&text(again.stdout)), keys(&printed));

    let json = weir(&["check", "--json"], first.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["routes"][0]["name"], "off");
    assert_eq!(json["limits"]["memory"], "64MiB");
    let third = file(&json.to_string());
    let last = weir(&["check", "--json"], third.path());
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&last.stdout).unwrap(),
        json
    );
}

#[test]
fn a_port_in_use_is_a_warning_and_ends_the_start() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let also = TcpListener::bind("127.0.0.1:0").unwrap();
    let [held, also] = [&held, &also].map(|one| one.local_addr().unwrap());
    let own = std::process::id();
    let file = file(&format!(
        "listen: \"{held}\"\nadmin: {{listen: \"{also}\"}}\nlimits: {{memory: 64MiB}}\n{AGENT}"
    ));
    let checked = weir(&["check"], file.path());
    let said = text(checked.stderr);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    let name = file.path().display();
    for (place, key, address) in [("1:9", "listen", held), ("2:17", "admin.listen", also)] {
        let want = format!(
            "{name}:{place}: warning: {key}: {address} cannot be listened on now: it is in use by process {own} ("
        );
        assert!(said.contains(&want), "{said}\nwanted {want}");
    }

    let started = weir(&["--config"], file.path());
    let said = text(started.stderr);
    assert_eq!(started.status.code(), Some(1), "{said}");
    for address in [held, also] {
        let want = format!("cannot listen on {address}");
        assert!(said.contains(&want), "{said}");
    }
    assert!(
        said.contains(&format!("it is in use by process {own} (")),
        "{said}"
    );
}

#[test]
fn warnings_have_lines_and_come_once() {
    let file = file(&format!(
        "{ANY_PORT}upstreams:\n  agent: {{endpoints: \"http://127.0.0.1:8000\"}}\n  spare: {{endpoints: \"http://127.0.0.1:8001\"}}\n\
         defaults: {{heartbeat: 2m}}\nroutes:\n  - {{name: a, upstream: agent, match: {{path_prefix: /a}}}}\n  - {{name: b, upstream: agent, match: {{path_prefix: /b}}}}\n"
    ));
    let checked = weir(&["check"], file.path());
    assert_eq!(checked.status.code(), Some(0));
    let name = file.path().display();
    let want = format!(
        "{name}:6:3: warning: upstreams.spare: is used by no route\n{name}:7:23: warning: defaults.heartbeat: 2m is not below the 60s after which common proxies cut silence\n"
    );
    assert_eq!(text(checked.stderr), want);
}
