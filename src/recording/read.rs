//! Reads a recording.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use thiserror::Error;

use super::lines::{First, Line};
use super::message;
use super::{BodyFraming, Ended, Ending, Exchange, Fields, Piece, Recording};
use super::{Request, Response, UNFINISHED, VERSION};

/// The largest time, in microseconds: 31 days.
const MAX_AT: u64 = 31 * 24 * 3600 * 1_000_000;

/// What is wrong with a file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {message}")]
pub struct Error {
    /// The line, from 1 on.
    pub line: usize,
    /// What was expected, and what is there.
    pub message: String,
}

/// What has been read of a file.
#[derive(Debug, Default)]
struct Parts {
    /// In the order in which they begin.
    list: Vec<Part>,
    /// Where in the list an exchange is, by its number.
    places: BTreeMap<u64, usize>,
    /// The exchange of the last line.
    current: u64,
}

/// An exchange of which the end may be missing.
#[derive(Debug)]
struct Part {
    number: u64,
    request: Request,
    response: Option<Response>,
    reads: Vec<Piece>,
    end: Option<Ended>,
}

/// Reads a file. A last line that is not complete is left out, and an exchange without its end counts as truncated.
///
/// # Errors
/// If it is no recording, or not one that this version knows. The error names the line.
pub fn read(file: &[u8]) -> Result<Recording, Error> {
    // Some editors begin a file with a byte order mark.
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut lines = file.split(|byte| *byte == b'\n').enumerate();
    let first = lines.next().map(|(_, line)| line).unwrap_or_default();
    check_first(first).map_err(|message| Error { line: 1, message })?;
    let mut parts = Parts::default();
    let breaks = file.iter().filter(|byte| **byte == b'\n').count();
    for (index, text) in lines {
        // Empty, if the file ends as it should.
        let is_last = index == breaks;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |message: String| Error {
            line: index + 1,
            message,
        };
        let line: Line<'_> = match serde_json::from_slice(text) {
            Ok(line) => line,
            // The recorder was killed while it wrote it.
            Err(error) if is_last && error.is_eof() => break,
            Err(error) => return Err(wrong(json_error(&error))),
        };
        parts.take(line).map_err(wrong)?;
    }
    let exchanges = parts.list.into_iter().filter_map(Part::whole).collect();
    Ok(Recording { exchanges })
}

fn check_first(line: &[u8]) -> Result<(), String> {
    let none = "expected the first line of a recording, such as {\"weir_recording\":1}";
    let first: First<'_> =
        serde_json::from_slice(line).map_err(|error| format!("{none}: {}", json_error(&error)))?;
    if first.weir_recording == VERSION {
        Ok(())
    } else {
        Err(format!(
            "the recording has version {}, and this Weir knows version {VERSION}",
            first.weir_recording
        ))
    }
}

/// Returns the message without the place, which is that within the line.
fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message);
    format!("{message} (column {})", error.column())
}

impl Parts {
    /// Takes one line.
    fn take(&mut self, line: Line<'_>) -> Result<(), String> {
        match line {
            Line::Request {
                exchange,
                method,
                target,
                headers,
                asks_for,
            } => {
                let last = self
                    .places
                    .last_key_value()
                    .map_or(0, |(number, _)| *number);
                let number = exchange.unwrap_or_else(|| last.saturating_add(1));
                if self.places.contains_key(&number) {
                    return Err(format!("exchange {number} has begun before"));
                }
                let fields = checked(headers.into_owned())?;
                message::check_method(&method)?;
                message::check_target(&target)?;
                self.current = number;
                self.places.insert(number, self.list.len());
                self.list.push(Part {
                    number,
                    request: Request {
                        method: method.into_owned(),
                        target: target.into_owned(),
                        fields,
                        asks_for: asks_for.map(Cow::into_owned),
                    },
                    response: None,
                    reads: Vec::new(),
                    end: None,
                });
            }
            Line::Response {
                exchange,
                at_us,
                status,
                reason,
                headers,
                framing,
            } => {
                let part = self.part(exchange)?;
                if part.response.is_some() {
                    return Err(format!("exchange {} has a response already", part.number));
                }
                if !(200..=999).contains(&status) && status != 101 {
                    return Err(format!("expected a status from 200 to 999, not {status}"));
                }
                message::check_value("the reason", &reason)?;
                let fields = checked(headers.into_owned())?;
                let framing = match framing {
                    Some(framing) => framing.into(),
                    None => message::framing(status, &fields, &part.request.method),
                };
                if framing == BodyFraming::Length && message::content_length(&fields)?.is_none() {
                    return Err(
                        "a body with the framing `length` needs a Content-Length".to_owned()
                    );
                }
                part.response = Some(Response {
                    at: timed(at_us)?,
                    status,
                    reason: reason.into_owned(),
                    fields,
                    framing,
                });
            }
            Line::Read {
                exchange,
                at_us,
                text,
                base64,
            } => {
                let part = self.begun(exchange)?;
                let bytes = match (text, base64) {
                    (Some(text), None) => Bytes::from(text.into_owned()),
                    (None, Some(base64)) => BASE64_STANDARD
                        .decode(base64.as_bytes())
                        .map(Bytes::from)
                        .map_err(|error| format!("`base64` is not valid Base64: {error}"))?,
                    _ => return Err("a read needs one of `text` and `base64`".to_owned()),
                };
                let at = timed(at_us)?;
                part.reads.push(Piece { at, bytes });
            }
            Line::End {
                exchange,
                at_us,
                end,
                reason,
            } => {
                let part = self.begun(exchange)?;
                part.end = Some(Ended {
                    at: timed(at_us)?,
                    how: end.into(),
                    reason: reason.map(Cow::into_owned),
                });
            }
            Line::Unknown => {}
        }
        Ok(())
    }

    /// Returns the exchange of a line, which must have begun.
    fn part(&mut self, exchange: Option<u64>) -> Result<&mut Part, String> {
        let number = exchange.unwrap_or(self.current);
        self.current = number;
        self.places
            .get(&number)
            .and_then(|place| self.list.get_mut(*place))
            .ok_or_else(|| {
                format!("exchange {number} has no line of type `request` before this one")
            })
    }

    /// Returns the exchange of a line that is a part of its body.
    fn begun(&mut self, exchange: Option<u64>) -> Result<&mut Part, String> {
        let part = self.part(exchange)?;
        if part.response.is_none() {
            return Err(format!(
                "exchange {} has no line of type `response` before this one",
                part.number
            ));
        }
        if part.end.is_some() {
            return Err(format!("exchange {} has ended before", part.number));
        }
        Ok(part)
    }
}

fn checked(fields: Fields) -> Result<Fields, String> {
    for (name, value) in &fields {
        message::check_name(name)?;
        message::check_value(name, value)?;
    }
    Ok(fields)
}

fn timed(at: u64) -> Result<u64, String> {
    if at > MAX_AT {
        return Err(format!(
            "`at_us` is {at}; expected at most {MAX_AT} microseconds (31 days)"
        ));
    }
    Ok(at)
}

impl Part {
    /// Returns the exchange, if its response has begun.
    fn whole(self) -> Option<Exchange> {
        let response = self.response?;
        let last = self.reads.last().map_or(response.at, |read| read.at);
        Some(Exchange {
            number: self.number,
            request: self.request,
            response,
            reads: self.reads,
            end: self.end.unwrap_or_else(|| Ended {
                at: last,
                how: Ending::Truncated,
                reason: Some(UNFINISHED.to_owned()),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "{\"weir_recording\":1}\n{\"type\":\"request\",\"method\":\"GET\",\"target\":\"/a?b=1\"}\n\
        {\"type\":\"response\",\"status\":200,\"headers\":[[\"transfer-encoding\",\"chunked\"]]}\n";

    #[test]
    fn a_file_written_by_hand_needs_little() {
        let text = format!(
            "{HEAD}{{\"type\":\"read\",\"at_us\":5,\"text\":\"a\"}}\n\n{{\"type\":\"later\",\"x\":1}}\n{{\"type\":\"end\",\"at_us\":6,\"end\":\"clean\"}}"
        );
        let recording = read(text.as_bytes()).unwrap();
        let [one] = recording.exchanges.as_slice() else {
            panic!("{recording:?}")
        };
        assert_eq!(
            (one.number, one.request.path(), one.request.query()),
            (1, "/a", "b=1")
        );
        assert_eq!(one.response.framing, BodyFraming::Chunked);
        assert_eq!(one.reads[0].bytes.as_ref(), b"a");
        assert_eq!(one.end.how, Ending::Clean);
    }

    #[test]
    fn a_file_may_have_the_marks_of_an_editor() {
        let text = format!("\u{feff}{HEAD}{{\"type\":\"end\",\"at_us\":6,\"end\":\"clean\"}}\n");
        let recording = read(text.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!(recording.exchanges[0].end.how, Ending::Clean);
    }

    #[test]
    fn no_exchange_follows_the_largest_number() {
        let request = |exchange: &str| {
            format!("{{\"type\":\"request\",{exchange}\"method\":\"GET\",\"target\":\"/\"}}\n")
        };
        let largest = request(&format!("\"exchange\":{},", u64::MAX));
        let text = format!("{{\"weir_recording\":1}}\n{largest}{}", request(""));
        let error = read(text.as_bytes()).unwrap_err();
        assert!(error.message.contains("has begun before"), "{error}");
    }

    #[test]
    fn a_file_that_was_cut_anywhere_can_be_read() {
        let body = "{\"type\":\"read\",\"at_us\":5,\"text\":\"a\"}\n{\"type\":\"read\",\"at_us\":7,\"text\":\"b\"}\n";
        let text = format!("{HEAD}{body}");
        for cut in HEAD.len()..=text.len() {
            let recording = read(&text.as_bytes()[..cut]).unwrap();
            let one = &recording.exchanges[0];
            assert_eq!(one.end.how, Ending::Truncated);
            assert!(one.end.is_of_recorder());
            assert!(one.reads.len() <= 2);
        }
    }

    #[test]
    fn an_error_names_the_line_and_what_was_expected() {
        let table = [
            ("", "line 1: expected the first line of a recording"),
            ("hello\n", "line 1: expected the first line of a recording"),
            (
                "{\"weir_recording\":2}\n",
                "line 1: the recording has version 2, and this Weir knows version 1",
            ),
            ("{\"weir_recording\":1}\n{]\n", "line 2: "),
            (
                "{\"weir_recording\":1}\n{\"type\":\"read\",\"at_us\":1,\"text\":\"\"}\n",
                "line 2: exchange 0 has no line of type `request`",
            ),
            (
                "{\"weir_recording\":1}\n{\"type\":\"request\",\"method\":\"GET\",\"target\":\"a\"}\n",
                "line 2: ",
            ),
            (
                "{\"weir_recording\":1}\n{\"type\":\"request\",\"method\":\"GET\",\"target\":\"/\",\"headers\":[[\"a\",\"b\\r\\nc: d\"]]}\n",
                "line 2: the value of `a`",
            ),
        ];
        for (text, expected) in table {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        for (line, expected) in [
            (
                "{\"type\":\"read\",\"at_us\":1}",
                "one of `text` and `base64`",
            ),
            (
                "{\"type\":\"read\",\"at_us\":1,\"base64\":\"%\"}",
                "not valid Base64",
            ),
            (
                "{\"type\":\"read\",\"at_us\":99999999999999,\"text\":\"\"}",
                "at most",
            ),
            ("{\"type\":\"read\",\"text\":\"\"}", "at_us"),
            ("{\"type\":\"end\",\"at_us\":1,\"end\":\"odd\"}", "odd"),
            ("{\"type\":\"response\",\"status\":200}", "response already"),
            (
                "{\"type\":\"read\",\"exchange\":9,\"at_us\":1,\"text\":\"\"}",
                "exchange 9",
            ),
        ] {
            let error = read(format!("{HEAD}{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error.line, 4, "{error}");
            assert!(error.message.contains(expected), "{error}");
        }
    }
}
