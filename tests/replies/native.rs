//! Runs of an agent that speaks native events, and what clients must get of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir::translate::Target;

/// A tool call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) args: Value,
    /// The length of the pieces in which the arguments come, in characters; 0 if they come as a whole only.
    pub(crate) piece: usize,
    pub(crate) is_told_ready: bool,
    pub(crate) is_answered: bool,
}

/// One message of the model.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) reasoning: Vec<String>,
    pub(crate) text: Vec<String>,
    pub(crate) call: Option<Call>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finish(&'static str),
    Error,
}

/// A run as an agent should tell it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) messages: Vec<Message>,
    pub(crate) usage: Vec<(u32, u32)>,
    /// A status, a state and an unknown event come between any two pieces of a text.
    pub(crate) is_chatty: bool,
    /// What need not be escaped is escaped too.
    pub(crate) escapes: bool,
    pub(crate) end: End,
}

/// A stream in the making.
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    seq: usize,
    pub(crate) escapes: bool,
}

impl Stream {
    pub(crate) const fn new(escapes: bool) -> Self {
        Self {
            bytes: Vec::new(),
            seq: 0,
            escapes,
        }
    }

    /// Writes an event. `rest` is its members behind `seq`, each with a comma before it.
    pub(crate) fn event(&mut self, kind: &str, rest: &str) {
        self.seq += 1;
        let seq = self.seq;
        let event = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"seq\":{seq}{rest}}}\n\n");
        self.bytes.extend_from_slice(event.as_bytes());
    }

    /// Returns the body of a JSON string.
    pub(crate) fn body(&self, text: &str) -> String {
        let quoted = json!(text).to_string();
        let body = &quoted[1..quoted.len() - 1];
        if !self.escapes {
            return body.to_owned();
        }
        let mut units = [0; 2];
        body.chars()
            .map(|character| match character {
                '/' => "\\/".to_owned(),
                ascii if ascii.is_ascii() => ascii.to_string(),
                other => {
                    let units = other.encode_utf16(&mut units).iter();
                    let escapes: Vec<String> = units.map(|unit| format!("\\u{unit:04x}")).collect();
                    escapes.concat()
                }
            })
            .collect()
    }

    pub(crate) fn piece(&mut self, kind: &str, msg: usize, text: &str) {
        let text = self.body(text);
        self.event(kind, &format!(",\"msg\":\"m{msg}\",\"text\":\"{text}\""));
    }

    pub(crate) fn start(&mut self, id: usize) {
        let rest = format!(",\"id\":\"t{id}\",\"name\":\"tides\",\"phase\":\"start\"");
        self.event("tool_call", &rest);
    }

    pub(crate) fn args(&mut self, id: usize, text: &str) {
        let text = self.body(text);
        let rest = format!(",\"id\":\"t{id}\",\"phase\":\"args\",\"text\":\"{text}\"");
        self.event("tool_call", &rest);
    }

    pub(crate) fn ready(&mut self, id: usize, args: &Value) {
        let rest =
            format!(",\"id\":\"t{id}\",\"name\":\"tides\",\"phase\":\"ready\",\"args\":{args}");
        self.event("tool_call", &rest);
    }

    pub(crate) fn result(&mut self, id: usize, ok: bool) {
        let rest = format!(",\"id\":\"t{id}\",\"name\":\"tides\",\"ok\":{ok},\"content\":\"high\"");
        self.event("tool_result", &rest);
    }

    pub(crate) fn usage(&mut self, input: u32, output: u32) {
        self.event("usage", &format!(",\"input\":{input},\"output\":{output}"));
    }

    pub(crate) fn notes(&mut self) {
        self.event("status", ",\"name\":\"node\",\"text\":\"plan\"");
        self.event("state", ",\"op\":\"snapshot\",\"value\":{\"a\":1}");
        let rest = ",\"dialect\":\"x\",\"name\":\"odd\",\"data\":{\"b\":2}";
        self.event("raw", rest);
    }

    pub(crate) fn finish(&mut self, reason: &str) {
        let rest = format!(",\"reason\":\"{reason}\",\"scope\":\"run\"");
        self.event("finish", &rest);
    }

    pub(crate) fn error(&mut self) {
        let rest = ",\"code\":\"overloaded\",\"message\":\"No ferry today.\",\
            \"retryable\":false,\"source\":\"agent\",\"terminal\":true";
        self.event("error", rest);
    }
}

impl Run {
    pub(crate) fn stream(&self) -> Vec<u8> {
        let mut stream = Stream::new(self.escapes);
        stream.event("start", ",\"run\":\"r\",\"model\":\"granite\"");
        for (number, message) in self.messages.iter().enumerate() {
            for (kind, pieces) in [("reasoning", &message.reasoning), ("token", &message.text)] {
                for piece in pieces {
                    stream.piece(kind, number, piece);
                    if self.is_chatty {
                        stream.notes();
                    }
                }
            }
            if let Some(call) = &message.call {
                call.tell(number, &mut stream);
            }
        }
        for (input, output) in &self.usage {
            stream.usage(*input, *output);
        }
        match self.end {
            End::Finish(reason) => stream.finish(reason),
            End::Error => stream.error(),
        }
        stream.bytes
    }

    /// Returns what a client must show: of the answer, and of the reasoning.
    pub(crate) fn text(&self, target: Target) -> [String; 2] {
        let separator = if target == Target::OpenAiChat {
            "\n\n"
        } else {
            ""
        };
        let texts = self.messages.iter().map(|message| message.text.concat());
        let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
        let reasoning = self.messages.iter().flat_map(|said| said.reasoning.clone());
        [texts.join(separator), reasoning.collect()]
    }

    /// Returns the arguments of the calls that a client must know.
    pub(crate) fn calls(&self, target: Target) -> BTreeMap<String, Value> {
        let calls = self.messages.iter().enumerate();
        calls
            .filter_map(|(number, message)| Some((number, message.call.as_ref()?)))
            .filter(|(_, call)| match target {
                Target::Anthropic => false,
                // It runs what it is told, so it is told what nobody has run.
                Target::OpenAiChat => !call.is_answered,
                _ => true,
            })
            .map(|(number, call)| (format!("t{number}"), call.args.clone()))
            .collect()
    }

    /// Returns the token counts that a client must know.
    pub(crate) fn counts(&self, target: Target) -> Option<[u64; 2]> {
        let most = |of: fn(&(u32, u32)) -> u32| self.usage.iter().map(of).max();
        let counts = most(|usage| usage.0).zip(most(|usage| usage.1));
        let counts = counts.map(|(input, output)| [input.into(), output.into()]);
        match target {
            // Its clients need some.
            Target::Anthropic => counts.or(Some([0, 0])),
            _ => counts,
        }
    }
}

impl Call {
    fn tell(&self, id: usize, stream: &mut Stream) {
        stream.start(id);
        let text: Vec<char> = self.args.to_string().chars().collect();
        if self.piece > 0 {
            for piece in text.chunks(self.piece) {
                stream.args(id, &piece.iter().collect::<String>());
            }
        }
        if self.is_told_ready || self.piece == 0 {
            stream.ready(id, &self.args);
        }
        if self.is_answered {
            stream.result(id, true);
        }
    }
}
