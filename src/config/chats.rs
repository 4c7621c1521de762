//! Parses what names a chat: the path of the request for its stream, and the member of the requests before it.

use crate::config::address;
use crate::config::error::shown;

/// What stands for the chat in a path.
pub(crate) const ID: &str = "{id}";

/// Longest name of a member.
const MAX_MEMBER: usize = 63;

/// The path around the name of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatPath {
    /// The path before the id of the chat. Ends with `/`.
    pub(crate) prefix: String,
    /// What comes after it. Empty, or begins with `/`.
    pub(crate) suffix: String,
}

/// Parses a path with one segment `{id}`.
pub(crate) fn path(text: &str) -> Result<ChatPath, String> {
    let wrong = |why: &str| format!("{} {why}, as `/api/chat/{ID}/stream` does", shown(text));
    let Some((prefix, suffix)) = text.split_once(ID) else {
        return Err(wrong("does not contain `{id}`"));
    };
    if suffix.contains(ID) {
        return Err(wrong("does not contain `{id}` only once"));
    }
    let is_segment = prefix.ends_with('/') && (suffix.is_empty() || suffix.starts_with('/'));
    if !is_segment {
        return Err(wrong("does not contain `{id}` as a whole segment"));
    }
    if text.replacen(ID, "", 1).contains(['{', '}', '*', '?']) {
        return Err(format!(
            "{} contains a `{{`, `}}`, `*` or `?` besides `{ID}`",
            shown(text)
        ));
    }
    address::request_path(prefix)?;
    if !suffix.is_empty() {
        address::request_path(suffix)?;
    }
    Ok(ChatPath {
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
    })
}

/// Parses the name of a member: any printable text.
pub(crate) fn member(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_MEMBER).contains(&text.len()) && !text.contains(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not the name of a member (1 to {MAX_MEMBER} printable bytes)",
            shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chat_is_one_whole_segment() {
        for (text, prefix, suffix) in [
            ("/api/chat/{id}/stream", "/api/chat/", "/stream"),
            ("/{id}", "/", ""),
            ("/a/{id}/", "/a/", "/"),
        ] {
            let path = path(text).unwrap();
            assert_eq!((&*path.prefix, &*path.suffix), (prefix, suffix), "{text}");
        }
        for (text, why) in [
            ("", "does not contain `{id}`"),
            ("/api/chat", "does not contain `{id}`"),
            ("/{ID}", "does not contain `{id}`"),
            ("/{id}/{id}", "only once"),
            ("/chat-{id}", "whole segment"),
            ("/{id}.json", "whole segment"),
            ("{id}", "whole segment"),
            ("/{id}/{x}", "besides"),
            ("/*/{id}", "besides"),
            ("/{id}/?a=b", "besides"),
            ("chat/{id}", "not a path that begins with `/`"),
            ("/{id}/a b", "not a path"),
            ("/{id}/#", "not a path"),
        ] {
            let refused = path(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn members_are_short_and_printable() {
        assert_eq!(member("chatId"), Ok("chatId".to_owned()));
        for text in ["", "a\nb", &"m".repeat(64)] {
            assert!(member(text).is_err(), "{text}");
        }
    }
}
