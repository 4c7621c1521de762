//! Appends records to a file, one line each, from a thread of its own: a disk that hangs holds up no other thread, and
//! not the end of the process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::log_limit::LogLimit;
use super::retry::Failure;
use super::room::MAX_RECORDS;

/// Permissions of a file that is created: records may contain what users and models say.
const MODE: u32 = 0o640;

/// The thread that appends to a file. It ends when this is dropped.
pub(super) struct Appender {
    jobs: SyncSender<Job>,
}

/// A record to append, and who waits for the result.
struct Job {
    record: Bytes,
    appended: oneshot::Sender<bool>,
}

impl Appender {
    /// Opens the file, and starts the thread.
    ///
    /// # Errors
    /// If either fails.
    pub(super) fn start(path: PathBuf) -> io::Result<Self> {
        let opened = Opened::at(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let mut journal = Journal {
            path,
            opened: Some(opened),
            log_limit: LogLimit::default(),
        };
        // There is room for all records of the outbox.
        let (jobs, taken) = sync_channel(MAX_RECORDS);
        thread::Builder::new()
            .name("weir-outbox".to_owned())
            .spawn(move || journal.serve(&taken))?;
        Ok(Self { jobs })
    }

    /// Appends a record as one line.
    pub(super) async fn append(&self, record: Bytes) -> Result<(), Failure> {
        let (appended, result) = oneshot::channel();
        let job = Job { record, appended };
        let sent = self.jobs.try_send(job);
        sent.map_err(|_| Failure::Later(None))?;
        match result.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Failure::Later(None)),
        }
    }
}

/// The file at a path, whichever it is at the moment.
struct Journal {
    path: PathBuf,
    /// `None` after the file could not be opened.
    opened: Option<Opened>,
    log_limit: LogLimit,
}

impl Journal {
    fn serve(&mut self, jobs: &Receiver<Job>) {
        while let Ok(Job { record, appended }) = jobs.recv() {
            let result = self.append(&record);
            if let Err(error) = &result
                && self.log_limit.is_due()
            {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the file does not take records");
            }
            // Nobody waits any more at the end of the process.
            let _ = appended.send(result.is_ok());
        }
    }

    /// Appends a line. The file is opened again if another one, or none, is at its path: it was rotated.
    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let kept = self.opened.take();
        let mut opened = match kept.filter(|opened| opened.is_at(&self.path)) {
            Some(opened) => opened,
            None => Opened::at(&self.path)?,
        };
        let result = opened.append(record);
        self.opened = Some(opened);
        result
    }
}

/// Reports whether the last line of a file of this size is incomplete. If that cannot be read, it is not known to be.
fn ends_within_a_line(path: &Path, size: u64) -> bool {
    let last = size.checked_sub(1).and_then(|at| {
        let mut last = [0];
        let file = File::open(path).ok()?;
        file.read_exact_at(&mut last, at).ok()?;
        Some(last)
    });
    last.is_some_and(|last| last != *b"\n")
}

/// An open file.
struct Opened {
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// The last line was written in part, because the disk was full.
    is_torn: bool,
}

impl Opened {
    fn at(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE);
        let file = options.open(path)?;
        let found = file.metadata()?;
        Ok(Self {
            id: (found.dev(), found.ino()),
            file,
            is_torn: ends_within_a_line(path, found.len()),
        })
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.id)
    }

    /// Appends a line, usually in one write, so that lines of several processes do not mix.
    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let mut line = Vec::with_capacity(record.len() + 2);
        if self.is_torn {
            line.push(b'\n');
        }
        // In JSON, a line break is never part of a value.
        let flat = |byte: &u8| match byte {
            b'\n' | b'\r' => b' ',
            byte => *byte,
        };
        line.extend(record.iter().map(flat));
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Result<(), Failure> = Err(Failure::Later(None));

    async fn append(file: &Appender, record: &'static str) -> Result<(), Failure> {
        file.append(Bytes::from_static(record.as_bytes())).await
    }

    #[tokio::test]
    async fn a_record_is_one_line_after_those_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        fs::write(&path, "{}\n").unwrap();
        let file = Appender::start(path.clone()).unwrap();
        assert_eq!(append(&file, "{\n \"a\":\r\n 1}").await, Ok(()));
        assert_eq!(append(&file, "{\"b\":\"\\n\"}").await, Ok(()));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{}\n{  \"a\":   1}\n{\"b\":\"\\n\"}\n");
    }

    #[tokio::test]
    async fn a_rotated_file_gets_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let [path, old] = ["records", "records.1"].map(|name| folder.path().join(name));
        let file = Appender::start(path.clone()).unwrap();
        assert_eq!(append(&file, "{\"n\":1}").await, Ok(()));
        fs::rename(&path, &old).unwrap();
        assert_eq!(append(&file, "{\"n\":2}").await, Ok(()));
        // Another file is there already, as some rotations make it.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(append(&file, "{\"n\":3}").await, Ok(()));
        assert_eq!(fs::read_to_string(old).unwrap(), "{\"n\":1}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":3}\n");
        // Emptied in place.
        fs::write(&path, "").unwrap();
        assert_eq!(append(&file, "{\"n\":4}").await, Ok(()));
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"n\":4}\n");
    }

    #[tokio::test]
    async fn a_failed_write_is_told_and_the_next_one_may_succeed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("records");
        let file = Appender::start(path.clone()).unwrap();
        fs::remove_dir_all(&inner).unwrap();
        assert_eq!(append(&file, "{\"n\":1}").await, FAILED);
        fs::create_dir(&inner).unwrap();
        assert_eq!(append(&file, "{\"n\":1}").await, Ok(()));
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"n\":1}\n");
        assert!(Appender::start(inner).is_err(), "a folder is no file");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_a_failure() {
        let file = Appender::start("/dev/full".into()).unwrap();
        assert_eq!(append(&file, "{}").await, FAILED);
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let mut opened = Opened::at(&path).unwrap();
        opened.file.write_all(b"{\"n\":").unwrap();
        opened.is_torn = true;
        opened.append(b"{\"n\":2}").unwrap();
        opened.append(b"{\"n\":3}").unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text, "{\"n\":\n{\"n\":2}\n{\"n\":3}\n");
    }
}
