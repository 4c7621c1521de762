//! The closed sets of words in the file, and what each word means.

use crate::config::{LogFormat, Roots};
use crate::dialect::{Choice, Dialect};
use crate::queue::Overflow;

/// `log.format`
pub(crate) const LOG_FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("json", LogFormat::Json),
    ("text", LogFormat::Text),
];

/// `tls.roots`
pub(crate) const ROOTS: [(&str, Roots); 3] = [
    ("bundled", Roots::Bundled),
    ("none", Roots::None),
    ("system", Roots::System),
];

/// `queue.overflow`
pub(crate) const OVERFLOWS: [(&str, Overflow); 3] = [
    ("block", Overflow::Block),
    ("disconnect", Overflow::Disconnect),
    ("drop_oldest", Overflow::DropOldest),
];

/// `dialect`: `auto` and every dialect there is.
pub(crate) fn dialects() -> Vec<(&'static str, Choice)> {
    let fixed = Dialect::ALL
        .into_iter()
        .map(|dialect| (dialect.as_str(), Choice::Fixed(dialect)));
    std::iter::once(("auto", Choice::Auto))
        .chain(fixed)
        .collect()
}

/// The word for a value; empty only for a value that the file cannot express.
pub(crate) fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words
        .iter()
        .find(|(_, other)| other == value)
        .map_or("", |(word, _)| word)
}
