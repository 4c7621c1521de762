//! The model that a request asks for, as metrics name it: a member of the body, or a part of the path.

use std::sync::{Arc, OnceLock};

use crate::dialect::model;
use crate::wire::members::Scanner;

/// The model of one request, as far as its body has been forwarded.
#[derive(Clone, Debug, Default)]
pub struct AskedModel(Arc<OnceLock<Box<str>>>);

impl AskedModel {
    /// Returns a listener for the pieces of a body in JSON.
    pub fn listener(&self) -> impl FnMut(&[u8]) + Send + 'static {
        let found = Arc::clone(&self.0);
        let mut scanner = Scanner::default();
        move |piece| {
            if found.get().is_some() {
                return;
            }
            scanner.feed(piece, &mut |key, value| {
                let name = (key == b"model").then(|| model::quoted(value)).flatten();
                if let Some(name) = name {
                    // Of several, the first one counts.
                    let _ = found.set(name);
                }
            });
        }
    }

    /// Returns the model of a request for `path`, which names it if the body does not.
    pub fn name(&self, path: &str) -> Option<Box<str>> {
        let in_body = self.0.get().cloned();
        in_body.or_else(|| model::in_path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str, path: &str) -> Option<Box<str>> {
        let asked = AskedModel::default();
        let mut listener = asked.listener();
        body.as_bytes().chunks(5).for_each(&mut listener);
        asked.name(path)
    }

    #[test]
    fn the_body_names_the_model_or_the_path() {
        let chat = "/v1/chat/completions";
        let gemini = "/v1beta/models/g-3:streamGenerateContent";
        for (body, path, want) in [
            (
                r#"{"messages":[{"model":"deep"}],"model":"gpt-5","model":"b"}"#,
                chat,
                Some("gpt-5"),
            ),
            (r#"{"model":"a"}"#, gemini, Some("a")),
            (r#"{"contents":[]}"#, gemini, Some("g-3")),
            (
                r#"{"messages":[]}"#,
                "/openai/deployments/d1/chat/completions",
                Some("d1"),
            ),
            (r#"{"model":{"id":"a"}}"#, chat, None),
            (r#"{"model":"two words"}"#, chat, None),
            ("", "/v1/models", None),
            ("", "/v1beta/models/g-3", None),
        ] {
            assert_eq!(asked(body, path).as_deref(), want, "{body} {path}");
        }
    }
}
