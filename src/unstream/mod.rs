//! Writes a whole answer as the stream that the client has asked for, because some agents ignore `stream: true`.
//!
//! An answer becomes a stream of its own dialect, in the shape that the dialect's servers use: the same events, with
//! the whole text as one piece. It then passes through the pipeline like any other stream. Texts are copied as they
//! stand in the answer, and never decoded. What is not recognised as a whole answer, such as an error, stays as it is.
//!
//! | file | what is known there |
//! |---|---|
//! | `json` | JSON on one line, and how to look into it |
//! | `out` | blocks, lines and objects |
//! | `langchain` | LangGraph, LangServe |
//! | `objects` | answers made of the objects of the stream: A2A, ADK, Gemini |
//! | the others | the dialect of that name |

mod anthropic;
mod cohere;
mod dify;
mod json;
mod langchain;
mod objects;
mod ollama;
mod openai_chat;
mod openai_responses;
mod out;
mod tgi;

use crate::dialect::Dialect;
use crate::wire::Framing;
use json::Value;
use out::Out;

/// A stream that was made of a whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synthesized {
    /// The dialect of the answer, and of the stream.
    pub dialect: Dialect,
    /// How the stream separates its frames.
    pub framing: Framing,
    /// The stream.
    pub body: Vec<u8>,
}

/// Writes a whole answer as a stream. `expected` is the dialect that the request or the route suggests; without it, the
/// members of the answer alone show what it is.
///
/// Returns `None` if `body` is no whole answer that is known, or if the stream would be very much longer than the
/// answer. The body then passes as it is.
pub fn synthesize(expected: Option<Dialect>, body: &[u8]) -> Option<Synthesized> {
    if expected == Some(Dialect::Mcp) {
        // Its clients accept an answer of either kind to any request.
        return None;
    }
    let text = json::compact(body)?;
    let answer = Value::new(&text);
    if is_error(answer) {
        return None;
    }
    let is_expected =
        |known: &&Known| expected == Some(known.dialect) && (known.sign)(answer) != Sign::None;
    let known = KNOWN.iter().find(is_expected).or_else(|| {
        let is_certain = |known: &&Known| (known.sign)(answer) == Sign::Certain;
        KNOWN.iter().find(is_certain)
    })?;
    let mut out = Out::new(text.len());
    (known.write)(answer, &mut out)?;
    Some(Synthesized {
        dialect: known.dialect,
        framing: known.framing,
        body: out.into_bytes(),
    })
}

/// Reports whether the answer tells an error. A response of the Responses API has such a member in any case, and ends
/// its stream in a way of its own if it has failed.
fn is_error(answer: Value<'_>) -> bool {
    let error = answer.member("error");
    let tells = |error: Value<'_>| error.says_something() && error.raw() != "false";
    error.is_some_and(tells) && answer.word("object") != "response"
}

/// How sure it is that an answer is one of a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Certain,
    /// The answer may be one, if the request is one of the dialect.
    IfExpected,
    None,
}

impl Sign {
    const fn certain_if(is_certain: bool) -> Self {
        if is_certain {
            Self::Certain
        } else {
            Self::None
        }
    }
}

/// The whole answers of a dialect.
#[derive(Debug)]
struct Known {
    dialect: Dialect,
    framing: Framing,
    sign: fn(Value<'_>) -> Sign,
    write: fn(Value<'_>, &mut Out) -> Option<()>,
}

impl Known {
    const fn sse(
        dialect: Dialect,
        sign: fn(Value<'_>) -> Sign,
        write: fn(Value<'_>, &mut Out) -> Option<()>,
    ) -> Self {
        Self {
            dialect,
            framing: Framing::Sse,
            sign,
            write,
        }
    }
}

/// Of several that fit, the first is taken.
static KNOWN: [Known; 12] = [
    Known::sse(
        Dialect::OpenAiResponses,
        openai_responses::sign,
        openai_responses::write,
    ),
    Known::sse(Dialect::OpenAiChat, openai_chat::sign, openai_chat::write),
    Known::sse(Dialect::Anthropic, anthropic::sign, anthropic::write),
    Known::sse(Dialect::Gemini, objects::gemini_sign, objects::write_one),
    Known {
        framing: Framing::Ndjson,
        ..Known::sse(Dialect::Ollama, ollama::sign, ollama::write)
    },
    Known::sse(Dialect::Cohere, cohere::sign, cohere::write),
    Known::sse(Dialect::Dify, dify::sign, dify::write),
    Known::sse(Dialect::A2a, objects::a2a_sign, objects::write_one),
    Known::sse(Dialect::Adk, objects::adk_sign, objects::write_each),
    Known::sse(Dialect::Tgi, tgi::sign, tgi::write),
    // Last, because little shows whose they are.
    Known::sse(
        Dialect::LangServe,
        langchain::chain_sign,
        langchain::write_chain,
    ),
    Known::sse(
        Dialect::LangGraph,
        langchain::graph_sign,
        langchain::write_graph,
    ),
];

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests;
