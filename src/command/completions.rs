//! `weir completions` and `weir man`: completion scripts of shells, and manual pages, made from the command line's own
//! definition.

use std::fs;
use std::io;
use std::path::Path;

use clap::builder::PossibleValue;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::command::Output;

/// Returns the completion script of a shell.
pub fn completions(shell: Shell) -> Output {
    let mut cli = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "weir", &mut script);
    let mut stdout = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Fish {
        stdout.push_str(&positional(&cli));
    }
    Output {
        stdout,
        ..Output::default()
    }
}

/// Returns what the generator leaves out for fish: the words that stand in the place of an argument without a flag.
fn positional(cli: &Command) -> String {
    let mut lines = String::new();
    for command in cli.get_subcommands().filter(|one| !one.is_hide_set()) {
        for arg in command.get_positionals() {
            let words = arg.get_value_parser().possible_values();
            let words: Vec<_> = words.into_iter().flatten().collect();
            let words: Vec<_> = words.iter().map(PossibleValue::get_name).collect();
            if !words.is_empty() {
                lines.push_str(&format!(
                    "complete -c weir -n \"__fish_weir_using_subcommand {}\" -f -a \"{}\"\n",
                    command.get_name(),
                    words.join(" ")
                ));
            }
        }
    }
    lines
}

/// Writes a manual page for Weir and one for each command into `folder`, which is made if it does not exist.
pub fn man(folder: &Path) -> Output {
    match written(folder) {
        Ok(()) => Output::default(),
        Err(error) => Output {
            stderr: format!("weir: {}: {error}\n", folder.display()),
            code: 1,
            ..Output::default()
        },
    }
}

fn written(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let source = format!("weir {}", cli.get_version().unwrap_or_default());
    let mut commands = vec![cli];
    while let Some(command) = commands.pop() {
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        commands.extend(shown.cloned());
        let page = Man::new(command).source(&*source).manual("Weir");
        let mut roff = Vec::new();
        page.render(&mut roff)?;
        let roff = unfilled(&String::from_utf8_lossy(&roff));
        fs::write(folder.join(page.get_filename()), roff)?;
    }
    Ok(())
}

/// Keeps the lines of the last section, which has examples.
fn unfilled(page: &str) -> String {
    let Some((before, examples)) = page.split_once(".SH EXTRA\n") else {
        return page.to_owned();
    };
    let (examples, after) = match examples.find("\n.SH ") {
        Some(end) => examples.split_at(end + 1),
        None => (examples, ""),
    };
    format!("{before}.SH EXAMPLES AND NOTES\n.nf\n{examples}.fi\n{after}")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// The commands that are shown, each with its flags.
    fn commands() -> Vec<(String, Vec<String>)> {
        let mut cli = Cli::command();
        cli.build();
        cli.get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| {
                let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
                let flags = flags
                    .filter_map(|arg| arg.get_long())
                    .map(|long| format!("--{long}"));
                (command.get_name().to_owned(), flags.collect())
            })
            .collect()
    }

    #[test]
    fn completions_know_every_command_and_flag() {
        for shell in Shell::value_variants() {
            let script = completions(*shell).stdout;
            for (command, flags) in commands() {
                assert!(script.contains(&command), "{shell}: {command}");
                for flag in flags {
                    // fish writes a long flag as `-l NAME`.
                    let bare = flag.trim_start_matches('-');
                    let known = script.contains(&flag) || script.contains(&format!("-l {bare}"));
                    assert!(known, "{shell}: {command} {flag}");
                }
            }
        }
    }

    #[test]
    fn completions_offer_the_words_of_a_value() {
        for (shell, format, shells) in [
            (Shell::Bash, r#"compgen -W "auto json text""#, "fish"),
            (Shell::Zsh, "FORMAT:(auto json text)", "(bash elvish fish"),
            (Shell::Fish, "auto\\t''", "-f -a \"bash elvish fish"),
        ] {
            let script = completions(shell).stdout;
            assert!(script.contains(format), "{shell}: {script}");
            assert!(script.contains(shells), "{shell}: {script}");
        }
    }

    #[test]
    fn each_command_has_a_page_with_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("man1");
        assert_eq!(man(&inside), Output::default());
        for (command, flags) in commands() {
            let page = fs::read_to_string(inside.join(format!("weir-{command}.1"))).unwrap();
            for flag in flags {
                let flag = flag.replace('-', "\\-");
                assert!(page.contains(&flag), "{command}: {flag}\n{page}");
            }
        }
        let page = fs::read_to_string(inside.join("weir.1")).unwrap();
        assert!(page.contains("WEIR_LISTEN"), "{page}");
        assert_eq!(man(Path::new("/proc/no")).code, 1);
    }
}
