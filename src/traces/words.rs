//! The words of the GenAI semantic conventions for what a dialect does, and for whose it is.

use crate::dialect::Dialect;

/// `gen_ai.operation.name`; `None` where the dialect alone does not say.
pub(super) const fn operation(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Anthropic | Dialect::Ollama | Dialect::OpenAiChat | Dialect::OpenAiResponses => {
            Some("chat")
        }
        Dialect::Gemini => Some("generate_content"),
        Dialect::A2a | Dialect::Adk | Dialect::AgUi | Dialect::LangGraph | Dialect::LangServe => {
            Some("invoke_agent")
        }
        Dialect::Convention
        | Dialect::Mcp
        | Dialect::Opaque
        | Dialect::VercelUi
        | Dialect::VercelV4 => None,
    }
}

/// `gen_ai.provider.name`: the flavour that is spoken, which imitators speak as well. `None` for frameworks.
pub(super) const fn provider(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Anthropic => Some("anthropic"),
        Dialect::Gemini => Some("gcp.gen_ai"),
        Dialect::Ollama => Some("ollama"),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => Some("openai"),
        Dialect::A2a
        | Dialect::Adk
        | Dialect::AgUi
        | Dialect::Convention
        | Dialect::LangGraph
        | Dialect::LangServe
        | Dialect::Mcp
        | Dialect::Opaque
        | Dialect::VercelUi
        | Dialect::VercelV4 => None,
    }
}
