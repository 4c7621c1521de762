//! Writes a recording, line by line.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use thiserror::Error;

use super::lines::{First, Line};
use super::{Ended, Request, Response, VERSION};

/// The longest line that tells the end of an exchange. As much is kept free for each exchange that has not ended.
const END_BYTES: u64 = 160;

/// Why a line was not written.
#[derive(Debug, Error)]
pub enum Error {
    /// The file would grow beyond its largest size.
    #[error("the recording has reached its largest size")]
    Full,
    /// The file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes to `W`. Each line is one write, so that what was written is a valid file at any time.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    bytes: u64,
    max_bytes: u64,
    is_full: bool,
    exchanges: u64,
    /// The exchanges that have not ended.
    open: Vec<u64>,
}

impl<W: Write> Writer<W> {
    /// Begins a file of at most `max_bytes`. `recorded` is the time, and `by` the program.
    ///
    /// # Errors
    /// If the first line cannot be written.
    pub fn begin(out: W, max_bytes: u64, recorded: &str, by: &str) -> Result<Self, Error> {
        let mut writer = Self {
            out,
            bytes: 0,
            max_bytes,
            is_full: false,
            exchanges: 0,
            open: Vec::new(),
        };
        let first = First {
            weir_recording: VERSION,
            recorded: recorded.into(),
            by: by.into(),
        };
        let mut text = serde_json::to_vec(&first).map_err(io::Error::from)?;
        text.push(b'\n');
        writer.put(&text)?;
        Ok(writer)
    }

    /// Returns how many bytes were written.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the exchanges that have not ended.
    pub fn open(&self) -> &[u64] {
        &self.open
    }

    /// Writes the heads of an exchange. Returns its number.
    ///
    /// # Errors
    /// If the file is full, or cannot be written. Then nothing of the exchange is in the file.
    pub fn heads(&mut self, request: &Request, response: &Response) -> Result<u64, Error> {
        let number = self.exchanges + 1;
        let exchange = Some(number);
        let mut text = line(&Line::Request {
            exchange,
            method: Cow::Borrowed(&request.method),
            target: Cow::Borrowed(&request.target),
            headers: Cow::Borrowed(&request.fields),
            asks_for: request.asks_for.as_deref().map(Cow::Borrowed),
        })?;
        text.extend(line(&Line::Response {
            exchange,
            at_us: response.at,
            status: response.status,
            reason: Cow::Borrowed(&response.reason),
            headers: Cow::Borrowed(&response.fields),
            framing: Some(response.framing.into()),
        })?);
        self.room(text.len() as u64 + END_BYTES)?;
        self.put(&text)?;
        self.exchanges = number;
        self.open.push(number);
        Ok(number)
    }

    /// Writes some bytes of a body that came at `at`. Bytes that are not UTF-8, such as a part of a character, are
    /// written as Base64.
    ///
    /// # Errors
    /// If the file is full, or cannot be written.
    pub fn piece(&mut self, exchange: u64, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let (text, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(Cow::Borrowed(text)), None),
            Err(_) => (None, Some(Cow::Owned(BASE64_STANDARD.encode(bytes)))),
        };
        let text = line(&Line::Read {
            exchange: Some(exchange),
            at_us: at,
            text,
            base64,
        })?;
        self.room(text.len() as u64)?;
        self.put(&text)
    }

    /// Writes how an exchange ended. There is always room for it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn end(&mut self, exchange: u64, ended: &Ended) -> Result<(), Error> {
        let Some(at) = self.open.iter().position(|open| *open == exchange) else {
            return Ok(());
        };
        self.open.remove(at);
        let text = line(&Line::End {
            exchange: Some(exchange),
            at_us: ended.at,
            end: ended.how.into(),
            reason: ended.reason.as_deref().map(Cow::Borrowed),
        })?;
        self.put(&text)
    }

    /// Fails if `bytes` more do not fit, beside the ends that are missing.
    fn room(&mut self, bytes: u64) -> Result<(), Error> {
        let ends = END_BYTES.saturating_mul(self.open.len() as u64);
        let needed = self.bytes.saturating_add(bytes).saturating_add(ends);
        self.is_full |= needed > self.max_bytes;
        if self.is_full {
            Err(Error::Full)
        } else {
            Ok(())
        }
    }

    fn put(&mut self, text: &[u8]) -> Result<(), Error> {
        self.out.write_all(text)?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

fn line(line: &Line<'_>) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::read::read;
    use crate::recording::{BodyFraming, Ending};

    fn request() -> Request {
        Request {
            method: "POST".into(),
            target: "/v1/chat".into(),
            fields: vec![("Host".into(), "a".into())],
            asks_for: Some("openai_chat".into()),
        }
    }

    fn response() -> Response {
        Response {
            at: 10,
            status: 200,
            reason: "OK".into(),
            fields: vec![("X-Odd".into(), "caf\u{e9}".into())],
            framing: BodyFraming::Chunked,
        }
    }

    fn ended(reason: Option<&str>) -> Ended {
        Ended {
            at: 40,
            how: Ending::Truncated,
            reason: reason.map(Into::into),
        }
    }

    #[test]
    fn what_is_written_is_read_again_to_the_byte() {
        let mut file = Vec::new();
        let mut writer = Writer::begin(&mut file, 1 << 20, "now", "test").unwrap();
        let one = writer.heads(&request(), &response()).unwrap();
        let two = writer.heads(&request(), &response()).unwrap();
        // The character is cut between two reads; both exchanges run at once.
        let whole = "data: \u{1f30a}\n\n".as_bytes();
        let (left, right) = whole.split_at(8);
        writer.piece(one, 20, left).unwrap();
        writer.piece(two, 21, b"\"quoted\"\r\n\0").unwrap();
        writer.piece(one, 30, right).unwrap();
        writer.end(one, &ended(None)).unwrap();
        writer.end(two, &ended(Some("closed"))).unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        assert_eq!(text.matches("base64").count(), 2, "{text}");
        let recording = read(&file).unwrap();
        let [first, second] = recording.exchanges.as_slice() else {
            panic!("{recording:?}")
        };
        assert_eq!((&first.request, &first.response), (&request(), &response()));
        let bytes: Vec<u8> = first
            .reads
            .iter()
            .flat_map(|read| read.bytes.to_vec())
            .collect();
        assert_eq!(bytes, whole);
        assert_eq!(
            first.reads.iter().map(|read| read.at).collect::<Vec<_>>(),
            [20, 30]
        );
        assert_eq!(second.reads[0].bytes.as_ref(), b"\"quoted\"\r\n\0");
        assert_eq!(second.end, ended(Some("closed")));
    }

    #[test]
    fn a_full_file_is_within_its_size_and_whole() {
        let mut file = Vec::new();
        let max = 2000;
        let mut writer = Writer::begin(&mut file, max, "now", "test").unwrap();
        let one = writer.heads(&request(), &response()).unwrap();
        let full = loop {
            if let Err(error) = writer.piece(one, 20, b"0123456789") {
                break error;
            }
        };
        assert!(matches!(full, Error::Full));
        // Nothing more, however small.
        assert!(matches!(writer.piece(one, 20, b""), Err(Error::Full)));
        assert!(matches!(
            writer.heads(&request(), &response()),
            Err(Error::Full)
        ));
        writer.end(one, &ended(Some("max_size"))).unwrap();
        assert!(writer.open().is_empty());
        assert!(
            file.len() as u64 <= max && file.len() > 1600,
            "{}",
            file.len()
        );
        let recording = read(&file).unwrap();
        assert_eq!(recording.exchanges[0].end, ended(Some("max_size")));
    }
}
