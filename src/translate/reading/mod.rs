//! Reads the events of an agent: what each says, in parts.
//!
//! One file for each dialect, of the same name as in `dialect`. A reading may be lenient: what a source does in the
//! wrong order, twice or not at all is put right by the [`conversation`](super::conversation).

mod a2a;
mod adk;
mod ag_ui;
mod anthropic;
mod cohere;
mod convention;
mod dify;
mod events;
mod gemini;
mod langchain;
mod langgraph;
mod langserve;
mod librechat;
mod mastra;
mod mcp;
mod ollama;
mod opaque;
mod openai_chat;
mod openai_responses;
mod shared;
mod strands;
#[cfg(test)]
mod testing;
mod tgi;
mod vercel_ui;
mod vercel_v4;

use std::fmt;

use super::part::Part;
use super::skipped::Skipped;
use crate::dialect::Dialect;
use crate::event::Event;
use crate::wire::Frame;

/// Reads the events of one stream.
pub(super) trait Reading: fmt::Debug + Send {
    /// Passes what an event says to `parts`. `event` is what the classifier says about it. Text is in its order.
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>));

    /// Reports whether it may be left out of a piece that goes on with a text, because it keeps no count of pieces.
    fn may_skip_pieces(&self) -> bool {
        true
    }

    /// Reports whether it wants to know of which pieces it was left out.
    fn measures_skipped(&self) -> bool {
        false
    }

    /// Takes note of pieces of the text that it has read last, of which it was left out.
    fn skipped(&mut self, _: &Skipped) {}
}

/// Returns the reading of a dialect, for a new stream that begins with this payload.
pub(super) fn of(dialect: Dialect, first: &[u8]) -> Box<dyn Reading> {
    match dialect {
        Dialect::A2a => Box::<a2a::A2a>::default(),
        Dialect::Adk => Box::<adk::Adk>::default(),
        Dialect::AgUi => Box::<ag_ui::AgUi>::default(),
        Dialect::Anthropic => Box::<anthropic::Anthropic>::default(),
        Dialect::Cohere => Box::<cohere::Cohere>::default(),
        Dialect::Dify => Box::<dify::Dify>::default(),
        Dialect::Gemini => Box::<gemini::Gemini>::default(),
        Dialect::LangGraph => Box::<langgraph::LangGraph>::default(),
        Dialect::LangServe => Box::<langserve::LangServe>::default(),
        Dialect::LibreChat => Box::<librechat::LibreChat>::default(),
        Dialect::Mastra => Box::<mastra::Mastra>::default(),
        Dialect::Mcp => Box::<mcp::Mcp>::default(),
        Dialect::Ollama => Box::<ollama::Ollama>::default(),
        Dialect::OpenAiChat => Box::<openai_chat::OpenAiChat>::default(),
        Dialect::OpenAiResponses => Box::<openai_responses::OpenAiResponses>::default(),
        Dialect::Strands => Box::<strands::Strands>::default(),
        Dialect::Tgi => Box::<tgi::Tgi>::default(),
        Dialect::VercelUi => Box::<vercel_ui::VercelUi>::default(),
        Dialect::VercelV4 => Box::<vercel_v4::VercelV4>::default(),
        Dialect::Convention if events::is_native(first) => Box::<events::Events>::default(),
        Dialect::Convention => Box::<convention::Convention>::default(),
        Dialect::Opaque => Box::<opaque::Opaque>::default(),
    }
}
