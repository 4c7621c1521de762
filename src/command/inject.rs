//! `weir inject`: adds Weir as a sidecar to the Kubernetes manifests on standard input.

use std::io::{IsTerminal, Read, stdin};

use crate::command::Output;
use crate::inject::{self, Options};

/// The most bytes of manifests that are read.
const MAX_INPUT: u64 = 32 << 20;

/// Reads manifests from standard input and returns them with Weir in them. What was done goes to stderr.
pub fn inject(options: &Options) -> Output {
    match read() {
        Ok(text) => injected(&text, options),
        Err(message) => failed(&message),
    }
}

fn injected(text: &str, options: &Options) -> Output {
    if let Some(message) = unusable(options) {
        return failed(&message);
    }
    match inject::inject(text, options) {
        Ok(done) => Output {
            stdout: done.text,
            stderr: done
                .notes
                .iter()
                .fold(String::new(), |all, note| all + note + "\n"),
            code: 0,
        },
        Err(problem) => failed(&problem.to_string()),
    }
}

fn read() -> Result<String, String> {
    let input = stdin();
    if input.is_terminal() {
        return Err(
            "expected manifests on standard input: weir inject < deployment.yaml".to_owned(),
        );
    }
    let mut bytes = Vec::new();
    let read = input.lock().take(MAX_INPUT + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(format!("standard input has more than {MAX_INPUT} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "standard input is not UTF-8".to_owned())
}

/// What is wrong with the flags, whatever the manifests are.
fn unusable(options: &Options) -> Option<String> {
    if options.listen == options.admin {
        return Some(format!(
            "--admin-port: expected another port than --listen ({})",
            options.listen
        ));
    }
    let image = &options.image;
    let odd = |one: char| one.is_whitespace() || one.is_control();
    if image.is_empty() || image.contains(odd) {
        return Some(format!(
            "--image: `{}` is not the name of an image",
            image.escape_debug()
        ));
    }
    None
}

fn failed(message: &str) -> Output {
    Output {
        stderr: format!("weir: {message}\n"),
        code: 2,
        ..Output::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_flags_are_rejected() {
        let options = Options::without_flags();
        let said = |options: Options| injected("kind: ConfigMap\n", &options);
        let same = said(Options {
            admin: 8080,
            ..options.clone()
        });
        assert!(
            same.code == 2 && same.stderr.contains("--admin-port"),
            "{same:?}"
        );
        let image = said(Options {
            image: "a b".to_owned(),
            ..options.clone()
        });
        assert!(
            image.code == 2 && image.stderr.contains("--image"),
            "{image:?}"
        );
        let none = said(options);
        assert!(none.code == 2 && none.stdout.is_empty(), "{none:?}");
        assert!(
            none.stderr.starts_with("weir: no workload in the input"),
            "{none:?}"
        );
    }
}
