//! A fact about a dialect is a field of its `DialectSpec`: outside of `dialect`, no code asks which dialect it has,
//! except in tables that the compiler checks for completeness. A new dialect then cannot be forgotten anywhere.
#![expect(
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

#[path = "support/source.rs"]
mod source;

use source::{Source, is_word, sources};

/// The tables, and what they say of each dialect. Elsewhere only `Dialect::Opaque`, of which nothing is known, may be
/// named, as a value.
const TABLES: &[(&str, &str)] = &[
    ("translate/reading/mod.rs", "how its events are read"),
    (
        "translate/target.rs",
        "the dialects that targets are written in",
    ),
    (
        "unstream/mod.rs",
        "how its whole answers are written as streams, and in which order they are tried",
    ),
];

/// What is found about the place where a dialect is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A value, which decides nothing.
    Value,
    /// An arm of a `match` that names all dialects.
    Table,
    /// Another question for the dialect.
    Question,
}

/// Returns the name of each variant in a text, and how it is used.
fn uses(code: &str) -> Vec<(&str, Use)> {
    let named = code.match_indices("Dialect::").filter_map(|(at, keyword)| {
        let before = code.get(..at)?;
        let rest = code.get(at + keyword.len()..)?;
        let name = rest.get(..rest.find(|c| !is_word(c)).unwrap_or(rest.len()))?;
        // `Dialect::ALL` and functions are no variants; `{` and `*` import all of them.
        let is_variant = name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
        let imports = rest.starts_with(['{', '*']);
        if before.ends_with(is_word) || !(is_variant || imports) {
            return None;
        }
        let after = rest.get(name.len()..)?;
        let kind = if imports {
            Use::Question
        } else {
            kind(before, after)
        };
        Some((name, kind))
    });
    named.collect()
}

fn kind(before: &str, after: &str) -> Use {
    // Without what may stand around a dialect: references, and what holds one.
    let begin = before.trim_end_matches(|c: char| c.is_whitespace() || "(&*[".contains(c));
    let begin = ["Some", "Fixed"].iter().fold(begin, |begin, holder| {
        let Some(rest) = begin.strip_suffix(holder) else {
            return begin;
        };
        rest.trim_end_matches(|c: char| c.is_whitespace() || is_word(c) || "(&*:".contains(c))
    });
    let end = after.trim_start_matches(|c: char| c.is_whitespace() || ")]".contains(c));
    let is_compared = ["==", "!=", ".contains"]
        .iter()
        .any(|word| begin.ends_with(word) || end.starts_with(word));
    let is_let = end.starts_with('=') && !end.starts_with("==") && !end.starts_with("=>");
    if is_compared || is_let || is_in_matches(before) {
        return Use::Question;
    }
    let is_arm = end.starts_with("=>") || end.starts_with('|') || end.starts_with("if ");
    if !is_arm {
        Use::Value
    } else if has_rest(before, after) {
        Use::Question
    } else {
        Use::Table
    }
}

/// Reports whether the place is in the arguments of `matches!`.
fn is_in_matches(before: &str) -> bool {
    let mut depth = 0_u32;
    for (at, c) in before.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' if depth > 0 => depth -= 1,
            '(' if before.get(..at).unwrap().ends_with("matches!") => return true,
            ';' | '{' | '}' => return false,
            _ => {}
        }
    }
    false
}

/// Reports whether the `match` around the place has an arm for all other values.
fn has_rest(before: &str, after: &str) -> bool {
    let before = block(before.chars().rev(), ['}', '{']);
    let before: String = before.chars().rev().collect();
    let after = block(after.chars(), ['{', '}']);
    [before, after].iter().any(|arms| {
        // Each but the last part ends with a pattern.
        let parts = arms.rsplit("=>").skip(1).map(str::trim_end);
        parts.map(last_pattern).any(|pattern| {
            let binds = pattern.starts_with(char::is_lowercase) && pattern.chars().all(is_word);
            pattern == "_" || binds
        })
    })
}

/// Returns the pattern at the end of a text, which may begin with what the arm before it does.
fn last_pattern(text: &str) -> &str {
    let pattern = text.rsplit(',').next().unwrap_or(text).trim_start();
    // A block before it needs no comma.
    let is_any = pattern.ends_with('_') && !pattern.trim_end_matches('_').ends_with(is_word);
    if is_any { "_" } else { pattern }
}

/// Returns what is left of a block, without the blocks in it.
fn block(chars: impl Iterator<Item = char>, [opens, closes]: [char; 2]) -> String {
    let mut depth = 0_u32;
    let mut out = String::new();
    for c in chars {
        if c == opens {
            depth += 1;
        } else if c != closes {
            if depth == 0 {
                out.push(c);
            }
        } else if depth == 0 {
            break;
        } else {
            depth -= 1;
        }
    }
    out
}

/// Reports whether code asks for the word of a dialect: literals are removed from what is read here.
fn asks_for_word(code: &str) -> bool {
    let compares = code.match_indices("dialect.as_str()").any(|(at, asked)| {
        let rest = code.get(at + asked.len()..).unwrap().trim_start();
        ["==", "!=", "{"].iter().any(|word| rest.starts_with(word))
    });
    compares || code.contains("Dialect::parse()") || code.contains("Dialect as ")
}

#[test]
fn no_code_asks_which_dialect_it_has() {
    let mut naming = Vec::new();
    for Source { path, code } in sources() {
        if path.starts_with("dialect/") {
            continue;
        }
        assert!(
            !asks_for_word(&code),
            "src/{path} asks for the word of a dialect"
        );
        let is_table = TABLES.iter().any(|(file, _)| *file == path);
        for (name, kind) in uses(&code) {
            let may = match kind {
                Use::Question => false,
                Use::Table => is_table,
                Use::Value => is_table || name == "Opaque",
            };
            assert!(
                may,
                "src/{path} names `Dialect::{name}` ({kind:?}): make what it wants to know a field of `DialectSpec`, or list \
                 the file in tests/dialect_names.rs if it is a table of all dialects"
            );
            naming.push(path.clone());
        }
    }
    for (file, what) in TABLES {
        let names = naming.iter().any(|path| path == file);
        assert!(
            names,
            "src/{file} no longer says {what}: remove it from the list"
        );
    }
}

#[test]
fn each_way_to_ask_is_seen() {
    for question in [
        "if dialect == Dialect::Mcp {",
        "if Dialect::Mcp != dialect {",
        "expected == Some(Dialect::Mcp)",
        "choice != Choice::Fixed(Dialect::Mcp)",
        "matches!(self.dialect, Some(Dialect::AgUi) | None)",
        "matches!(x(y), (Dialect::AgUi, _))",
        "if let Some(Dialect::AgUi) = dialect {",
        "let Choice::Fixed(Dialect::Mcp) = choice else {",
        "match dialect { Dialect::Mcp => 1, _ => 2 }",
        "match dialect { Dialect::Mcp => 1, other => other }",
        "match dialect { _ if x => 0, Some(Dialect::Mcp) => { 1 } _ => 2 }",
        "[Dialect::Mcp].contains(&x)",
        "list.contains(&Dialect::Mcp)",
        "use crate::dialect::Dialect::*;",
    ] {
        let found = uses(question);
        assert!(
            found.iter().any(|(_, kind)| *kind == Use::Question),
            "{question}: {found:?}"
        );
    }
    let table =
        "match x { Dialect::Mcp | Dialect::AgUi if y => { match z { _ => 1 } } Dialect::Mcp => 2 }";
    let kinds: Vec<_> = uses(table).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [Use::Table; 3]);
    let value = "match x { None => Dialect::Opaque, _ => f(&[Dialect::Opaque, Dialect::ALL], Dialect::parse(word)) }";
    assert_eq!(uses(value), [("Opaque", Use::Value); 2]);
    assert!(asks_for_word("match dialect.as_str() {"));
    assert!(!asks_for_word("dialect.as_str(), Dialect::parse(word)"));
}
