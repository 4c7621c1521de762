//! Checks that every shipped or documented configuration loads, and that every invalid one is rejected with exact
//! messages.
//!
//! `WEIR_BLESS=1 cargo test --test config_files` rewrites the `.err` files; review them like code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use weir::config::{self, Overrides};

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no YAML file");
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn must_load(path: &Path) -> config::Config {
    let text = fs::read_to_string(path).unwrap();
    config::load(Some((name(path), &text)), &Overrides::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_valid_file_loads() {
    for path in yaml_files("tests/config/valid") {
        must_load(&path);
    }
}

#[test]
fn every_shipped_example_loads_without_warnings() {
    for path in yaml_files("deploy/examples") {
        let warnings = config::warnings(&must_load(&path));
        assert!(warnings.is_empty(), "{}: {warnings:?}", path.display());
    }
}

#[test]
fn every_whole_configuration_in_the_docs_loads() {
    let docs = fs::read_to_string("docs/configuration.md").unwrap();
    let blocks: Vec<_> = docs
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let whole: Vec<_> = blocks
        .iter()
        .filter(|block| block.starts_with("# weir.yaml"))
        .collect();
    assert!(whole.len() >= 2, "the docs show at least two whole files");
    for block in whole {
        config::load(Some(("docs", block)), &Overrides::default())
            .unwrap_or_else(|problems| panic!("{problems}\n{block}"));
    }
}

#[test]
fn every_invalid_file_says_exactly_what_is_wrong() {
    let mut wrong = Vec::new();
    for path in yaml_files("tests/config/invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let problems = match config::load(Some((name(&path), &text)), &Overrides::default()) {
            Ok(_) => panic!("{} loads", path.display()),
            Err(problems) => format!("{problems}\n"),
        };
        let expected = path.with_extension("err");
        if std::env::var_os("WEIR_BLESS").is_some() {
            fs::write(&expected, &problems).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if problems != expected {
            wrong.push(format!(
                "{}\n--- expected\n{expected}--- got\n{problems}",
                path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn secrets_never_reach_a_message() {
    let text = fs::read_to_string("tests/config/invalid/secrets-stay-out.yaml").unwrap();
    let problems = config::load(Some(("f", &text)), &Overrides::default())
        .unwrap_err()
        .to_string();
    for secret in ["correct-horse", "sk-live", "battery", "staple"] {
        assert!(!problems.contains(secret), "{problems}");
    }
}

#[test]
fn what_is_effective_loads_and_stays_the_same() {
    for path in yaml_files("tests/config/valid")
        .into_iter()
        .chain(yaml_files("deploy/examples"))
    {
        let first = config::effective(&must_load(&path));
        let again = config::load(
            Some(("effective", &first.to_string())),
            &Overrides::default(),
        );
        let again = again.unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        assert_eq!(config::effective(&again), first, "{}", path.display());
        let yaml = config::yaml(&first);
        let again = config::load(Some(("effective", &yaml)), &Overrides::default());
        let again = again.unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        assert_eq!(config::effective(&again), first, "{}", path.display());
    }
}

#[test]
fn any_cut_of_a_file_gives_a_result_and_no_panic() {
    for path in yaml_files("tests/config/valid") {
        let text = fs::read_to_string(&path).unwrap();
        // A thousand cuts of each file are enough: a file that is cut is read several times.
        let step = text.len() / 1_000 + 1;
        let ends = (0..text.len()).step_by(step);
        for end in ends.filter(|end| text.is_char_boundary(*end)) {
            let _ = config::load(Some(("cut", &text[..end])), &Overrides::default());
        }
    }
}
