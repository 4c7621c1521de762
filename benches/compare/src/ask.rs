//! What a client asks the mock model to do. It is in the query of the path, which every proxy forwards unchanged.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Nothing is held back.
    #[default]
    Nothing,
    /// Not even the response head is sent.
    Head,
    /// The head is sent, but no event.
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Identifies the stream in the model's notes.
    pub id: u64,
    /// Events per second; 0 means as fast as they are taken.
    pub rate: u32,
    /// The number of stamped events; 0 means until the model is told to finish.
    pub events: u32,
    /// Events per write. Each is still its own HTTP chunk.
    pub batch: u32,
    /// When in the period this stream sends, in nanoseconds.
    pub phase: u64,
    pub hold: Hold,
    /// Whether the bytes that the proxy takes are counted.
    pub count: bool,
    /// The size of a message of a WebSocket; 0 means that it is a stream over HTTP.
    pub message: u32,
    /// Whether the answer is compressed, and flushed after each write.
    pub gzip: bool,
    /// The size of an answer that is no stream, in JSON; 0 means a stream.
    pub answer: u32,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            id: 0,
            rate: 0,
            events: 0,
            batch: 1,
            phase: 0,
            hold: Hold::Nothing,
            count: false,
            message: 0,
            gzip: false,
            answer: 0,
        }
    }
}

pub const PATH: &str = "/v1/chat/completions";

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            rate,
            events,
            batch,
            phase,
            hold,
            count,
            message,
            gzip,
            answer,
        } = self;
        let (hold, count) = (*hold as u8, u8::from(*count));
        write!(
            f,
            "{PATH}?id={id}&rate={rate}&events={events}&batch={batch}&phase={phase}&hold={hold}&count={count}"
        )?;
        // Streams over HTTP keep the request that they always had.
        if *message > 0 {
            write!(f, "&message={message}")?;
        }
        if *gzip {
            write!(f, "&gzip=1")?;
        }
        if *answer > 0 {
            write!(f, "&answer={answer}")?;
        }
        Ok(())
    }
}

impl Ask {
    /// Parses a path. Parameters that it does not contain keep their defaults.
    pub fn read(path: &str) -> Option<Self> {
        let mut ask = Self::default();
        let rest = path.strip_prefix(PATH)?;
        let Some(query) = rest.strip_prefix('?') else {
            return rest.is_empty().then_some(ask);
        };
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=')?;
            match key {
                "id" => ask.id = value.parse().ok()?,
                "rate" => ask.rate = value.parse().ok()?,
                "events" => ask.events = value.parse().ok()?,
                "batch" => ask.batch = value.parse().ok().filter(|batch| *batch > 0)?,
                "phase" => ask.phase = value.parse().ok()?,
                "hold" => {
                    ask.hold = match value {
                        "0" => Hold::Nothing,
                        "1" => Hold::Head,
                        "2" => Hold::Events,
                        _ => return None,
                    }
                }
                "count" => ask.count = value == "1",
                "message" => ask.message = value.parse().ok()?,
                "gzip" => ask.gzip = value == "1",
                "answer" => ask.answer = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(ask)
    }

    /// Reports whether the stream runs until the model is told to finish. What is held back ends only with its client.
    pub fn is_endless(&self) -> bool {
        self.events == 0 && self.hold == Hold::Nothing
    }

    /// Finds what is asked in a request whose path the target wrote: in its body, if a member there repeats it.
    pub fn read_body(body: &[u8]) -> Option<Self> {
        let at = memchr::memmem::find(body, PATH.as_bytes())?;
        let end = memchr::memchr(b'"', &body[at..])?;
        Self::read(std::str::from_utf8(&body[at..at + end]).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read() {
        let ask = Ask {
            id: 9,
            rate: 50,
            events: 500,
            batch: 16,
            phase: 123_456,
            hold: Hold::Events,
            count: true,
            message: 0,
            gzip: false,
            answer: 0,
        };
        assert_eq!(Ask::read(&ask.to_string()), Some(ask));
        let ask = Ask {
            message: 200,
            gzip: true,
            answer: 300,
            ..ask
        };
        assert_eq!(Ask::read(&ask.to_string()), Some(ask));
        let body = format!(r#"{{"user": "{ask}", "stream": true}}"#);
        assert_eq!(Ask::read_body(body.as_bytes()), Some(ask));
        assert_eq!(Ask::read_body(b"{}"), None);
        assert_eq!(Ask::read(PATH), Some(Ask::default()));
        assert_eq!(Ask::read("/other"), None);
        assert_eq!(Ask::read("/v1/chat/completions?batch=0"), None);
    }
}
