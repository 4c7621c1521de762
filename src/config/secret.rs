//! Secret values. The configuration names only the source of a secret; its value is read once per load and never
//! logged.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use http::HeaderValue;

use crate::config::error::shown;

/// Largest secret that is read. It is longer than any token.
const MAX_BYTES: usize = 16 << 10;

/// The source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `env:NAME`: the value of an environment variable.
    Env(String),
    /// `file:PATH`: the content of a file, without the line breaks at its end.
    File(PathBuf),
}

impl fmt::Display for Source {
    /// Writes the source as the file does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Parses `env:NAME` or `file:PATH`. Anything else may be the secret itself, so the message does not repeat it.
pub(crate) fn source(text: &str) -> Result<Source, String> {
    match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
            Ok(Source::Env(name.to_owned()))
        }
        Some(("file", path)) if !path.is_empty() => Ok(Source::File(PathBuf::from(path))),
        _ => Err(
            "expected `env:NAME` or `file:PATH`; the value itself does not belong in the file"
                .to_owned(),
        ),
    }
}

/// Reads the secret that `env:NAME` or `file:PATH` names.
pub(crate) fn named(text: &str) -> Result<HeaderValue, String> {
    read(&source(text)?)
}

/// Reads the secret as a header value, which is marked as sensitive.
pub(crate) fn read(source: &Source) -> Result<HeaderValue, String> {
    let text = match source {
        Source::Env(name) => std::env::var(name)
            .map_err(|_| format!("the variable {} is not set, or is no text", shown(name)))?,
        Source::File(path) => content(path)
            .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?,
    };
    if text.len() > MAX_BYTES {
        return Err(format!(
            "what `{source}` names has more than {MAX_BYTES} bytes"
        ));
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("what `{source}` names is empty"));
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        format!("what `{source}` names holds characters that a header field cannot carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the file, up to one byte more than the limit, which shows that it is too large.
fn content(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        // A truncated file may end inside a character. Blanks keep the error "too large" instead of "no text".
        bytes.fill(b' ');
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is no text"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_secret_is_named_and_not_written() {
        assert_eq!(source("env:TOKEN"), Ok(Source::Env("TOKEN".to_owned())));
        assert_eq!(source("file:/a:b").unwrap().to_string(), "file:/a:b");
        for text in ["", "sk-live", "env:", "file:", "ENV:A", "env:A=B"] {
            let refused = source(text).unwrap_err();
            assert!(!refused.contains("sk-live"), "{refused}");
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_line_break() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"Bearer canary\n").unwrap();
        let value = read(&Source::File(file.path().to_owned())).unwrap();
        assert_eq!(value, "Bearer canary");
        assert!(!format!("{value:?}").contains("canary"));
        file.write_all(b"\nsecond").unwrap();
        let refused = read(&Source::File(file.path().to_owned())).unwrap_err();
        assert!(!refused.contains("canary"), "{refused}");
        assert!(read(&Source::Env("WEIR_NO_SUCH_VARIABLE".to_owned())).is_err());
        assert!(read(&Source::File("no/such".into())).is_err());
        let endless = read(&Source::File("/dev/zero".into())).unwrap_err();
        assert!(endless.contains("more than 16384 bytes"), "{endless}");
        assert!(read(&Source::File("/dev/null".into())).is_err());
    }
}
