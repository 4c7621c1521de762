//! Which tool an item calls, who runs it, and how far its input has come.

use super::OpenAiResponses;
use crate::translate::part::{By, Part};
use crate::translate::raw::{at, escaped, quoted, string, unescaped, word};

/// The most bytes of a text that are remembered, to find what is missing of it.
const MAX_SENT_BYTES: usize = 256 * 1024;

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: Vec<u8>,
    pub(super) by: By,
    input: Input,
    /// Whether pieces of the input have come.
    has_input: bool,
    /// What has come of a text that is no JSON; `None` if it is too long to be remembered.
    sent: Option<Vec<u8>>,
    pub(super) is_ready: bool,
}

/// What the input of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The text of a program, which becomes a member of an object.
    Code,
    /// JSON.
    Json,
    /// Any text, which becomes a JSON string.
    Plain,
}

impl Input {
    /// Returns what stands before and after the text in the JSON text of the arguments.
    const fn edges(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Code => (b"{\"code\":\"", b"\"}"),
            Self::Json => (b"", b""),
            Self::Plain => (b"\"", b"\""),
        }
    }

    /// Returns the arguments with a whole text, the raw body of a JSON string. `None` if the text is empty.
    fn whole(self, text: &[u8]) -> Option<Vec<u8>> {
        let (before, after) = self.edges();
        (!text.is_empty()).then(|| match self {
            Self::Json => unescaped(text),
            Self::Code | Self::Plain => [before, text, after].concat(),
        })
    }
}

impl Call {
    /// Passes on a piece of the input.
    pub(super) fn piece(&mut self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if text.is_empty() || self.is_ready {
            return;
        }
        let is_first = !std::mem::replace(&mut self.has_input, true);
        let sent = self.sent.as_mut().filter(|_| self.input != Input::Json);
        if let Some(sent) = sent {
            sent.extend_from_slice(text);
        }
        self.sent.take_if(|sent| sent.len() > MAX_SENT_BYTES);
        let (before, _) = self.input.edges();
        let text = match self.input {
            Input::Json => text.into(),
            Input::Code | Input::Plain if is_first => {
                escaped(&[before, text].concat()).into_owned().into()
            }
            Input::Code | Input::Plain => escaped(text),
        };
        parts(Part::ToolArgs {
            id: (&self.id).into(),
            text,
        });
    }

    /// Passes on that the input is complete: it is `text` or the JSON value `input`, or what the pieces add up to.
    pub(super) fn ready(
        &mut self,
        text: &[u8],
        input: Option<&[u8]>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if self.is_ready {
            return;
        }
        let mut whole = self.input.whole(text);
        if self.has_input && self.input != Input::Json {
            // Its pieces are within a JSON text that must be closed, also if the whole is another text.
            whole = None;
            let sent = self.sent.as_deref();
            let rest = sent.and_then(|sent| text.strip_prefix(sent));
            self.piece(rest.unwrap_or_default(), parts);
            let (_, after) = self.input.edges();
            parts(Part::ToolArgs {
                id: (&self.id).into(),
                text: escaped(after),
            });
        }
        self.is_ready = true;
        let other = || match self.input {
            Input::Plain if !self.has_input => Some(quoted(b"")),
            _ => input.map(<[u8]>::to_vec),
        };
        parts(Part::ToolReady {
            msg: b"".into(),
            id: (&self.id).into(),
            name: b"".into(),
            args: whole.or_else(other).map(Into::into),
            by: self.by,
        });
    }
}

/// What an item says about the tool that it calls.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) id: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) input: Input,
    pub(super) by: By,
}

impl<'a> Tool<'a> {
    /// Reads an item; `None` if it is no call. `runner` runs the tools that the server does not.
    pub(super) fn of(item: &'a [u8], runner: By) -> Option<Self> {
        let kind = word(item, &["type"]);
        let of = kind.strip_suffix(b"_call")?;
        let id = match word(item, &["call_id"]) {
            b"" => word(item, &["id"]),
            id => id,
        };
        let (input, by) = match of {
            b"code_interpreter" => (Input::Code, By::Agent),
            b"custom_tool" => (Input::Plain, runner),
            b"file_search" | b"image_generation" | b"mcp" | b"web_search" => {
                (Input::Json, By::Agent)
            }
            _ => (Input::Json, runner),
        };
        let name = at(item, &["name"]).and_then(string).unwrap_or(of);
        Some(Self {
            id,
            name,
            input,
            by,
        })
    }
}

impl OpenAiResponses {
    /// Returns the call that an event of this kind belongs to. It begins here if its item has not.
    pub(super) fn call(
        &mut self,
        place: Option<u64>,
        id: &[u8],
        kind: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Option<&mut Call> {
        let has_begun = (self.item(place, id)).is_some_and(|item| item.call.is_some());
        if !has_begun {
            let (input, by, name): (_, _, &[u8]) = match kind.first() {
                Some(b'c') if kind.starts_with(b"code_") => {
                    (Input::Code, By::Agent, b"code_interpreter")
                }
                Some(b'c') => (Input::Plain, self.runner(), b""),
                Some(b'm') => (Input::Json, By::Agent, b""),
                _ => (Input::Json, self.runner(), b""),
            };
            let call = self.begin(id, name, input, by, parts);
            self.item(place, id)?.call = Some(call);
        }
        self.item(place, id)?.call.as_mut()
    }

    /// Returns who runs the functions: the client of the API, or the Agents SDK.
    pub(super) const fn runner(&self) -> By {
        if self.wrapped { By::Agent } else { By::Client }
    }

    /// Returns a new call.
    pub(super) fn begin(
        &mut self,
        id: &[u8],
        name: &[u8],
        input: Input,
        by: By,
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Call {
        let id = if id.is_empty() {
            let number = self.nameless;
            self.nameless += 1;
            format!("call-{number}").into_bytes()
        } else {
            id.to_vec()
        };
        parts(Part::ToolStart {
            msg: b"".into(),
            id: (&id).into(),
            name: name.into(),
            by,
        });
        Call {
            id,
            by,
            input,
            has_input: false,
            sent: Some(Vec::new()),
            is_ready: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::read;
    use crate::translate::part::{Part, Reason, Scope};

    #[test]
    fn pieces_of_arguments_go_to_their_calls() {
        let parts = read("tools.sse");
        let pieces_of = |call: &[u8]| {
            let mut joined = Vec::new();
            for part in &parts {
                if let Part::ToolArgs { id, text } = part
                    && &**id == call
                {
                    joined.extend_from_slice(text);
                }
            }
            String::from_utf8(joined).unwrap()
        };
        assert_eq!(pieces_of(b"call_0"), r#"{\"c\":\"Oslo\"}"#);
        assert_eq!(pieces_of(b"call_1"), "{}");
        assert_eq!(pieces_of(b"ct_1"), r#"\"ls\""#);
        assert_eq!(pieces_of(b"ci_1"), r#"{\"code\":\"1+1\"}"#);
        let begun = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolStart { .. }));
        let ready = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolReady { .. }));
        assert_eq!((begun.count(), ready.count()), (6, 6));
        let end = Part::Finish {
            reason: Reason::ToolCalls,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }
}
