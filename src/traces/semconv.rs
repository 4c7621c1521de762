//! The operation and the provider of a dialect, in the words of the GenAI semantic conventions. Each dialect
//! names its own (`dialect::spec`).

use crate::dialect::Dialect;

/// Returns `gen_ai.operation.name` of a response from `path`; `None` if the dialect does not define it.
pub(super) fn operation(dialect: Dialect, path: &str) -> Option<&'static str> {
    dialect.gen_ai().operation.map(|operation| operation(path))
}

/// Reports whether a POST to `path` asks for the dialect's operation, and not for models or embeddings.
pub(super) fn is_asked_at(dialect: Dialect, path: &str) -> bool {
    let ends = dialect.gen_ai().paths;
    ends.iter().any(|end| path.ends_with(end))
}

/// Returns `gen_ai.provider.name`: the API flavour that is spoken, which compatible servers of other vendors
/// speak as well. `None` for frameworks.
pub(super) const fn provider(dialect: Dialect) -> Option<&'static str> {
    dialect.gen_ai().provider
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
