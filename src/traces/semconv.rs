//! The words of the GenAI semantic conventions for what a dialect does, and for whose it is.

use crate::dialect::Dialect;

/// `gen_ai.operation.name` of an answer from `path`; `None` where the dialect does not say.
pub(super) fn operation(dialect: Dialect, path: &str) -> Option<&'static str> {
    let completes = |path: &str| {
        let chats = path.ends_with("/chat/completions");
        (path.ends_with("/completions") && !chats) || path.ends_with("/api/generate")
    };
    match dialect {
        Dialect::Ollama | Dialect::OpenAiChat if completes(path) => Some("text_completion"),
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

/// Whether a POST to `path` asks a dialect for what its operation does, and not for models or embeddings.
pub(super) fn is_asked_at(dialect: Dialect, path: &str) -> bool {
    let ends: &[&str] = match dialect {
        Dialect::Anthropic => &["/messages"],
        Dialect::Gemini => &[":generateContent", ":streamGenerateContent"],
        Dialect::Ollama => &["/api/chat", "/api/generate"],
        Dialect::OpenAiChat => &["/completions"],
        Dialect::OpenAiResponses => &["/responses"],
        Dialect::A2a
        | Dialect::Adk
        | Dialect::AgUi
        | Dialect::Convention
        | Dialect::LangGraph
        | Dialect::LangServe
        | Dialect::Mcp
        | Dialect::Opaque
        | Dialect::VercelUi
        | Dialect::VercelV4 => &[],
    };
    ends.iter().any(|end| path.ends_with(end))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_asked_at_its_own_paths() {
        for (dialect, path, want) in [
            (Dialect::OpenAiChat, "/v1/chat/completions", true),
            (Dialect::OpenAiChat, "/openai/v1/completions", true),
            (Dialect::OpenAiChat, "/v1/embeddings", false),
            (Dialect::OpenAiChat, "/v1/models", false),
            (Dialect::OpenAiChat, "/v1/messages", false),
            (Dialect::OpenAiResponses, "/v1/responses", true),
            (Dialect::Anthropic, "/v1/messages", true),
            (Dialect::Anthropic, "/v1/messages/count_tokens", false),
            (Dialect::Gemini, "/v1beta/models/g:generateContent", true),
            (Dialect::Gemini, "/v1beta/models/g:countTokens", false),
            (Dialect::Ollama, "/api/chat", true),
            (Dialect::Ollama, "/api/tags", false),
            (Dialect::AgUi, "/agent", false),
        ] {
            assert_eq!(is_asked_at(dialect, path), want, "{path}");
        }
    }

    #[test]
    fn the_path_tells_completions_from_chats() {
        for (dialect, path, want) in [
            (Dialect::OpenAiChat, "/v1/chat/completions", Some("chat")),
            (
                Dialect::OpenAiChat,
                "/v1/completions",
                Some("text_completion"),
            ),
            (Dialect::OpenAiChat, "/my/own", Some("chat")),
            (Dialect::Ollama, "/api/chat", Some("chat")),
            (Dialect::Ollama, "/api/generate", Some("text_completion")),
            (Dialect::Mcp, "/mcp", None),
        ] {
            assert_eq!(operation(dialect, path), want, "{path}");
        }
    }
}
