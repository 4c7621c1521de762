//! `weir completions` and `weir man`: completion scripts of shells, and manual pages, made from the command line's own
//! definition.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::command::Output;

/// Returns the completion script of a shell.
pub fn completions(shell: Shell) -> Output {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    Output {
        stdout: String::from_utf8_lossy(&script).into_owned(),
        ..Output::default()
    }
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
