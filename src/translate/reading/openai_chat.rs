//! Chat completions and legacy completions of OpenAI and compatible servers.

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::few;
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{at, elements, escaped, id, member, number, string, word};
use crate::wire::Frame;

/// The state that is kept between chunks.
#[derive(Debug, Default)]
pub(super) struct OpenAiChat {
    started: bool,
    /// The calls that are open, at most [`MAX_CALLS`].
    calls: Vec<Call>,
    /// How many calls had no id.
    nameless: u64,
}

/// The most calls that are remembered. Beyond that the oldest is forgotten.
const MAX_CALLS: usize = 256;

/// A call that is open.
#[derive(Debug)]
struct Call {
    choice: u64,
    number: u64,
    /// The id that the agent gave it; empty if it gave none.
    told: Vec<u8>,
    /// An id that no other open call has.
    id: Vec<u8>,
}

impl Reading for OpenAiChat {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if data.starts_with(b"[DONE]") {
            return parts(Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Run,
            });
        }
        if let Some(error) = member(data, "error") {
            return parts(Part::Error {
                code: id(error, &["code"]).into(),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
        }
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: word(data, &["id"]).into(),
                thread: b"".into(),
                model: word(data, &["model"]).into(),
            });
        }
        for choice in member(data, "choices").map(elements).unwrap_or_default() {
            self.choice(choice, parts);
        }
        let cached = number(data, &["usage", "prompt_tokens_details", "cached_tokens"]);
        shared::usage(event, cached, parts);
    }
}

impl OpenAiChat {
    fn choice(&mut self, choice: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let index = number(choice, &["index"]).unwrap_or_default();
        // Several choices are several texts.
        let msg = if index == 0 {
            Vec::new()
        } else {
            format!("choice-{index}").into_bytes()
        };
        let delta = member(choice, "delta").or_else(|| member(choice, "message"));
        let delta = delta.unwrap_or(choice);
        let said = |names: &[&str]| {
            names
                .iter()
                .map(|name| word(delta, &[name]))
                .find(|text| !text.is_empty())
        };
        if let Some(text) = said(&[
            "reasoning_content",
            "reasoning",
            "reasoning_text",
            "thinking",
        ]) {
            parts(Part::Reasoning {
                msg: (&msg).into(),
                text: text.into(),
            });
        }
        // Google's flag.
        let flag = at(delta, &["extra_content", "google", "thought"]);
        let is_thought = flag.is_some_and(|flag| flag == b"true");
        for name in ["content", "refusal", "text"] {
            let text = word(delta, &[name]);
            if text.is_empty() {
                continue;
            }
            if is_thought && name == "content" {
                parts(Part::Reasoning {
                    msg: (&msg).into(),
                    text: text.into(),
                });
            } else {
                parts(Part::Text {
                    msg: (&msg).into(),
                    text: text.into(),
                });
            }
        }
        for call in member(delta, "tool_calls")
            .map(elements)
            .unwrap_or_default()
        {
            self.call(index, &msg, call, parts);
        }
        if let Some(call) = member(delta, "function_call") {
            self.call(index, &msg, call, parts);
        }
        if let Some(reason) = at(choice, &["finish_reason"]).and_then(string) {
            for call in self.calls.extract_if(.., |call| call.choice == index) {
                parts(Part::ToolReady {
                    msg: b"".into(),
                    id: call.id.into(),
                    name: b"".into(),
                    args: None,
                    by: By::Client,
                });
            }
            parts(Part::Finish {
                reason: Reason::of(reason),
                scope: Scope::Choice,
            });
        }
    }

    /// Reads a piece of a call: the first has an id and a name, later ones only arguments.
    ///
    /// Some servers give all calls of a message the index 0, or the same id. Each is a call of its own, or
    /// their arguments would be one text that is no JSON.
    fn call(&mut self, choice: u64, msg: &[u8], call: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let number = number(call, &["index"]).unwrap_or_default();
        let function = member(call, "function").unwrap_or(call);
        let (told, name) = (word(call, &["id"]), word(function, &["name"]));
        let goes_on = told.is_empty() || name.is_empty();
        let is_here = |open: &Call| (open.choice, open.number) == (choice, number);
        let same = (self.calls.iter()).rposition(|open| is_here(open) && open.told == told);
        let known = same.or_else(|| {
            let last = self.calls.iter().rposition(is_here);
            last.filter(|at| {
                goes_on || self.calls.get(*at).is_some_and(|open| open.told.is_empty())
            })
        });
        let at = known.unwrap_or_else(|| {
            let id = if told.is_empty() {
                self.nameless += 1;
                format!("call-{}", self.nameless).into_bytes()
            } else if self.calls.iter().any(|open| open.id == told) {
                self.nameless += 1;
                [told, format!("-{}", self.nameless).as_bytes()].concat()
            } else {
                told.to_vec()
            };
            parts(Part::ToolStart {
                msg: msg.into(),
                id: (&id).into(),
                name: name.into(),
                by: By::Client,
            });
            if self.calls.len() == MAX_CALLS {
                self.calls.remove(0);
            }
            let call = Call {
                choice,
                number,
                told: told.to_vec(),
                id,
            };
            few::push(&mut self.calls, call);
            self.calls.len() - 1
        });
        let text = match member(function, "arguments") {
            Some(args) => match string(args) {
                Some(text) => text.into(),
                // Pieces follow it.
                None if args == b"{}" => return,
                // Some servers send the value and not its text.
                None => escaped(args),
            },
            None => return,
        };
        if let Some(open) = self.calls.get(at).filter(|_| !text.is_empty()) {
            parts(Part::ToolArgs {
                id: (&open.id).into(),
                text,
            });
        }
    }
}
