//! `weir completions` and `weir man`: completion scripts of shells, and manual pages, made from the command line's own
//! definition.

use std::fs;
use std::io;
use std::path::Path;

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::command::Output;

/// What the generator for bash writes at the end of a command: flags are offered, even where a path stands.
const BASH_FLAGS: &str = r#"esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
"#;
/// What stands there instead if the argument is a file. `complete -o default` completes file names then.
const BASH_FILES: &str = "esac
            return 0
";
/// What stands there instead if the argument is a folder.
const BASH_FOLDERS: &str = r#"esac
            if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                compopt -o dirnames
            fi
            return 0
"#;

/// Returns the completion script of a shell.
pub fn completions(shell: Shell) -> Output {
    let mut cli = Cli::command();
    if shell == Shell::Bash {
        cli = without_files(cli);
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "weir", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Output {
        stdout: match shell {
            Shell::Bash => paths_before_flags(script, &cli),
            Shell::Fish => script + &positional(&cli),
            _ => script,
        },
        ..Output::default()
    }
}

/// Marks the flags that take a URL or an address as something that cannot be completed. The generator for bash would
/// offer files for them.
fn without_files(cli: Command) -> Command {
    let mark = |arg: Arg| match arg.get_value_hint() {
        ValueHint::Hostname | ValueHint::Url => arg.value_hint(ValueHint::Other),
        _ => arg,
    };
    cli.mut_args(mark)
        .mut_subcommands(|command| command.mut_args(mark))
}

/// Changes the script for bash, whose generator ignores what an argument without a flag takes: where a file or a folder
/// stands, flags are offered only to a word that begins with `-`.
fn paths_before_flags(mut script: String, cli: &Command) -> String {
    for command in cli.get_subcommands() {
        let paths = command
            .get_positionals()
            .find_map(|arg| match arg.get_value_hint() {
                ValueHint::DirPath => Some(BASH_FOLDERS),
                ValueHint::FilePath => Some(BASH_FILES),
                _ => None,
            });
        let begin = format!("weir__subcmd__{})\n            opts=", command.get_name());
        if let (Some(paths), Some((before, rest))) = (paths, script.split_once(&begin)) {
            let rest = rest
                .replacen(" || ${COMP_CWORD} -eq 2 ]]", " ]]", 1)
                .replacen(BASH_FLAGS, paths, 1);
            script = [before, &begin, &rest].concat();
        }
    }
    script
}

/// Returns what the generator leaves out for fish: what can stand in the place of an argument without a flag.
fn positional(cli: &Command) -> String {
    let mut lines = String::new();
    for command in cli.get_subcommands().filter(|one| !one.is_hide_set()) {
        for arg in command.get_positionals() {
            let words = arg.get_value_parser().possible_values();
            let words: Vec<_> = words.into_iter().flatten().collect();
            let words: Vec<_> = words.iter().map(PossibleValue::get_name).collect();
            let offered = match arg.get_value_hint() {
                _ if !words.is_empty() => format!("-f -a \"{}\"", words.join(" ")),
                ValueHint::DirPath => "-f -a \"(__fish_complete_directories)\"".to_owned(),
                ValueHint::Hostname => "-f -a \"(__fish_print_hostnames)\"".to_owned(),
                ValueHint::Url => "-f".to_owned(),
                // fish offers files by itself.
                _ => continue,
            };
            lines.push_str(&format!(
                "complete -c weir -n \"__fish_weir_using_subcommand {}\" {offered}\n",
                command.get_name()
            ));
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

    /// Returns what bash's function offers for these words, of which the last one is being completed.
    fn offered(script: &str, words: &[&str]) -> Vec<String> {
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let [.., previous, current] = &*quoted else {
            panic!("{words:?}")
        };
        // `compopt` can only be called while something is really completed.
        let ask = format!(
            "{script}\ncompopt() {{ :; }}\nCOMP_WORDS=({}); COMP_CWORD={}\n\
            _weir weir {current} {previous}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            quoted.join(" "),
            words.len() - 1
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a weir.yaml"), "").unwrap();
        let bash = std::process::Command::new("bash")
            .args(["--norc", "--noprofile", "-c", &ask])
            .current_dir(folder.path())
            .output()
            .expect("bash");
        let said = String::from_utf8(bash.stdout).unwrap();
        said.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_offers_files_and_folders_before_flags() {
        let script = completions(Shell::Bash).stdout;
        // Nothing: readline completes file names then.
        for words in [
            &["weir", "check", ""][..],
            &["weir", "check", "--json", ""],
            &["weir", "replay", ""],
            &["weir", "man", ""],
        ] {
            assert_eq!(offered(&script, words), [""], "{words:?}");
        }
        assert_eq!(script.matches("compopt -o dirnames").count(), 1);
        let flags = offered(&script, &["weir", "check", "--"]);
        assert!(flags.contains(&"--json".to_owned()), "{flags:?}");
        let files = offered(&script, &["weir", "serve", "--config", ""]);
        assert_eq!(files, ["a weir.yaml"]);
        // No files where a URL or an address stands.
        for flag in ["--upstream", "--listen"] {
            assert_eq!(offered(&script, &["weir", "serve", flag, ""]), [""]);
        }
        let flags = offered(&script, &["weir", "doctor", ""]);
        assert!(flags.contains(&"--json".to_owned()), "{flags:?}");
    }

    #[test]
    fn shells_know_what_stands_without_a_flag() {
        for (shell, file, url, folder) in [
            (
                Shell::Zsh,
                "YAML or JSON:_files'",
                "unix\\:/PATH:_urls'",
                "does not exist:_files -/'",
            ),
            (
                Shell::Fish,
                "-l config -d 'Configuration file, YAML or JSON' -r -F",
                "\"__fish_weir_using_subcommand doctor\" -f\n",
                "\"__fish_weir_using_subcommand man\" -f -a \"(__fish_complete_directories)\"",
            ),
        ] {
            let script = completions(shell).stdout;
            for expected in [file, url, folder] {
                assert!(script.contains(expected), "{shell}: {expected}\n{script}");
            }
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
