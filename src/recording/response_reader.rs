//! Reads a response from the bytes of a connection: its head, and its body without the framing of the transfer.

use super::BodyFraming;
use super::message::{BodyReader, Malformed, ResponseHead, framing, response_head};

/// The largest head.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// What was found.
#[derive(Debug)]
pub enum Found<'a> {
    /// The head.
    Head(&'a ResponseHead, BodyFraming),
    /// Some bytes of the body.
    Body(&'a [u8]),
    /// The body is complete.
    End,
}

/// Reads one response.
#[derive(Debug)]
pub struct ResponseReader {
    /// The method of the request.
    method: String,
    /// The head, as far as it has come.
    held: Vec<u8>,
    body: Option<BodyReader>,
    is_done: bool,
}

impl ResponseReader {
    /// Creates the reader of a response to a request with this method.
    pub const fn new(method: String) -> Self {
        Self {
            method,
            held: Vec::new(),
            body: None,
            is_done: false,
        }
    }

    /// Takes the next bytes, and passes what they hold to `found`. Interim responses are left out. Returns how many
    /// bytes belong to the response.
    ///
    /// # Errors
    /// If they are no response. What came before was passed on.
    pub fn take(
        &mut self,
        bytes: &[u8],
        found: &mut impl FnMut(Found<'_>),
    ) -> Result<usize, Malformed> {
        if self.is_done {
            return Ok(0);
        }
        if self.body.is_some() {
            return self.take_body(bytes, found);
        }
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let rest = self.held.get(start..).unwrap_or_default();
            let Some((head, length)) = response_head(rest)? else {
                if rest.len() > MAX_HEAD_BYTES {
                    return Err(Malformed(format!(
                        "the head of a response has more than {MAX_HEAD_BYTES} bytes"
                    )));
                }
                self.held.drain(..start);
                return Ok(bytes.len());
            };
            start += length;
            if (100..200).contains(&head.status) && head.status != 101 {
                continue;
            }
            let framing = match head.status {
                // What follows is another protocol.
                101 => BodyFraming::Close,
                status => framing(status, &head.fields, &self.method),
            };
            self.body = Some(BodyReader::new(framing, &head.fields)?);
            found(Found::Head(&head, framing));
            let held = std::mem::take(&mut self.held);
            let rest = held.get(start..).unwrap_or_default();
            let used = self.take_body(rest, found)?;
            return Ok((start + used).saturating_sub(before));
        }
    }

    fn take_body(
        &mut self,
        bytes: &[u8],
        found: &mut impl FnMut(Found<'_>),
    ) -> Result<usize, Malformed> {
        let Some(reader) = &mut self.body else {
            return Ok(0);
        };
        let taken = reader.take(bytes);
        if !taken.body.is_empty() {
            found(Found::Body(&taken.body));
        }
        if let Some(broken) = taken.broken {
            return Err(Malformed(broken.to_owned()));
        }
        if reader.is_done() {
            self.is_done = true;
            found(Found::End);
        }
        Ok(taken.used)
    }

    /// Reports whether the response is complete.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Reports whether the head has come.
    pub const fn has_head(&self) -> bool {
        self.body.is_some()
    }

    /// Reports whether the response is complete if the connection ends here.
    pub fn may_close(&self) -> bool {
        self.body.as_ref().is_some_and(BodyReader::may_close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, wire: &[u8], size: usize) -> (Vec<String>, usize, ResponseReader) {
        let mut reader = ResponseReader::new(method.to_owned());
        let (mut seen, mut used) = (Vec::new(), 0);
        for part in wire.chunks(size) {
            used += reader
                .take(part, &mut |found| {
                    seen.push(match found {
                        Found::Head(head, framing) => {
                            format!("{} {}", head.status, framing.as_str())
                        }
                        Found::Body(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                        Found::End => "end".to_owned(),
                    });
                })
                .unwrap();
        }
        (seen, used, reader)
    }

    #[test]
    fn a_response_is_read_however_it_is_cut() {
        let wire =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200";
        for size in 1..=wire.len() {
            let (seen, used, reader) = read("GET", wire, size);
            assert_eq!(seen[0], "200 chunked", "{size}");
            assert_eq!(seen[1..seen.len() - 1].concat(), "abc", "{size}");
            assert_eq!(seen[seen.len() - 1], "end");
            assert_eq!(used, wire.len() - 12, "{size}");
            assert!(reader.is_done());
        }
    }

    #[test]
    fn a_body_may_end_with_its_connection_or_not_be_there() {
        let (seen, _, reader) = read("GET", b"HTTP/1.1 200 OK\r\n\r\nabc", 100);
        assert_eq!(seen, ["200 close", "abc"]);
        assert!(reader.may_close() && !reader.is_done());
        let (seen, ..) = read("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", 7);
        assert_eq!(seen, ["200 none", "end"]);
        let (_, _, reader) = read("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", 7);
        assert!(!reader.may_close() && reader.has_head());
    }
}
