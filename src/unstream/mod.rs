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
    if expected.is_some_and(Dialect::accepts_whole_answers) {
        return None;
    }
    let text = json::compact(body)?;
    let answer = Value::new(&text);
    if is_error(answer) {
        return None;
    }
    let expected = expected.and_then(known);
    let is_expected = |known: &Known| (known.sign)(answer) != Sign::None;
    let is_certain = |known: &Known| (known.sign)(answer) == Sign::Certain;
    let known = expected
        .filter(is_expected)
        .or_else(|| ORDER.into_iter().filter_map(known).find(is_certain))?;
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
#[derive(Clone, Copy, Debug)]
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

/// Returns the whole answers of a dialect; `None` if they are never written as a stream.
const fn known(dialect: Dialect) -> Option<Known> {
    Some(match dialect {
        Dialect::A2a => Known::sse(dialect, objects::a2a_sign, objects::write_one),
        Dialect::Adk => Known::sse(dialect, objects::adk_sign, objects::write_each),
        Dialect::Anthropic => Known::sse(dialect, anthropic::sign, anthropic::write),
        Dialect::Cohere => Known::sse(dialect, cohere::sign, cohere::write),
        Dialect::Dify => Known::sse(dialect, dify::sign, dify::write),
        Dialect::Gemini => Known::sse(dialect, objects::gemini_sign, objects::write_one),
        Dialect::LangGraph => Known::sse(dialect, langchain::graph_sign, langchain::write_graph),
        Dialect::LangServe => Known::sse(dialect, langchain::chain_sign, langchain::write_chain),
        Dialect::Ollama => Known {
            framing: Framing::Ndjson,
            ..Known::sse(dialect, ollama::sign, ollama::write)
        },
        Dialect::OpenAiChat => Known::sse(dialect, openai_chat::sign, openai_chat::write),
        Dialect::OpenAiResponses => {
            Known::sse(dialect, openai_responses::sign, openai_responses::write)
        }
        Dialect::Tgi => Known::sse(dialect, tgi::sign, tgi::write),
        // They have none, or it shows nowhere in an answer that it is one of theirs.
        Dialect::AgUi
        | Dialect::Convention
        | Dialect::LibreChat
        | Dialect::Mastra
        | Dialect::Mcp
        | Dialect::Opaque
        | Dialect::Strands
        | Dialect::VercelUi
        | Dialect::VercelV4 => return None,
    })
}

/// The dialects whose whole answers are known. Of several that an answer fits, the first is taken.
const ORDER: [Dialect; 12] = [
    Dialect::OpenAiResponses,
    Dialect::OpenAiChat,
    Dialect::Anthropic,
    Dialect::Gemini,
    Dialect::Ollama,
    Dialect::Cohere,
    Dialect::Dify,
    Dialect::A2a,
    Dialect::Adk,
    Dialect::Tgi,
    // Last, because little shows whose they are.
    Dialect::LangServe,
    Dialect::LangGraph,
];

/// Every dialect whose whole answers are known stands in [`ORDER`], once.
const _: () = {
    let mut dialects: &[Dialect] = &Dialect::ALL;
    while let [dialect, rest @ ..] = dialects {
        let is_known = known(*dialect).is_some();
        assert!(matches!(
            (places(*dialect), is_known),
            (0, false) | (1, true)
        ));
        dialects = rest;
    }
};

/// Returns how often a dialect stands in [`ORDER`].
const fn places(dialect: Dialect) -> usize {
    let mut count = 0;
    let mut order: &[Dialect] = &ORDER;
    while let [first, rest @ ..] = order {
        if first.index() == dialect.index() {
            count += 1;
        }
        order = rest;
    }
    count
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests;
