//! The file of a recording. An existing file keeps its content until the first response has come.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Problem, failed, usage};

/// The mode of the file: its owner may read and write it.
const MODE: u32 = 0o600;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Target {
    file: File,
    path: PathBuf,
    /// The file was not there before.
    is_new: bool,
    /// The first line, until there is a second one to replace the old file with.
    held: Option<Vec<u8>>,
}

impl Target {
    /// Opens the file, which only its owner may read. An existing one is not touched unless `force` is given, and then
    /// keeps what it holds until the second line is written.
    ///
    /// # Errors
    /// If the file exists and may not be replaced, or cannot be written.
    pub(super) fn open(path: &Path, force: bool) -> Result<Self, Problem> {
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.write(true).mode(MODE);
        let (file, is_new) = match options.clone().create_new(true).open(path) {
            Ok(file) => (Ok(file), true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // A device would lose its mode and its name, and a pipe would block.
                if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                    return Err(usage(format!("{shown} is not a regular file")));
                }
                if !force {
                    return Err(usage(format!("{shown} exists; --force overwrites it")));
                }
                (options.open(path), false)
            }
            Err(error) => (Err(error), true),
        };
        Ok(Self {
            file: file.map_err(|error| failed(format!("{shown}: {error}")))?,
            path: path.to_owned(),
            is_new,
            held: (!is_new).then(Vec::new),
        })
    }

    /// Returns what to do once nothing was recorded: the file is as it was before.
    pub(super) fn undo(&self) -> Undo {
        Undo(self.is_new.then(|| self.path.clone()))
    }

    /// Replaces what the file held before.
    fn replace(&mut self, first: &[u8]) -> io::Result<()> {
        // It may have been there for others to read.
        self.file.set_permissions(Permissions::from_mode(MODE))?;
        self.file.set_len(0)?;
        self.file.write_all(first)
    }
}

impl Write for Target {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.held.take() {
            None => self.file.write(line),
            Some(first) if first.is_empty() => {
                self.held = Some(line.to_vec());
                Ok(line.len())
            }
            Some(first) => {
                self.replace(&first)?;
                self.file.write(line)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Leaves things as they were before the file was opened.
#[derive(Debug)]
pub(super) struct Undo(Option<PathBuf>);

impl Undo {
    /// Removes the file, if it was not there before.
    pub(super) fn run(self) {
        if let Some(path) = self.0 {
            // Somebody else may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_there_stays_until_a_response_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "an earlier and longer recording").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Target::open(&path, false).unwrap_err().code, 2);
        let mut file = Target::open(&path, true).unwrap();
        file.write_all(b"first\n").unwrap();
        file.undo().run();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "an earlier and longer recording"
        );
        file.write_all(b"second\n").unwrap();
        file.write_all(b"third\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\nthird\n");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_new_file_is_written_at_once_and_can_be_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut file = Target::open(&path, false).unwrap();
        file.write_all(b"first\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(mode(&path), 0o600);
        file.undo().run();
        assert!(!path.exists());
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let before = mode(&socket);
        for path in [socket.as_path(), folder.path()] {
            let problem = Target::open(path, true).unwrap_err();
            assert_eq!(problem.code, 2);
            assert!(problem.message.contains("not a regular file"));
        }
        assert_eq!(mode(&socket), before);
    }
}
