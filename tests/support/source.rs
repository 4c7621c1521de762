//! Reads the source of Weir, for the tests of its rules.

use std::fs;
use std::path::{Path, PathBuf};

const TEST: &str = "#[cfg(test)]";

/// A file of `src` that is not only a test.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path below `src`, such as `stream/tools.rs`.
    pub(crate) path: String,
    /// Its code: without tests, comments and the contents of strings, at the same lines.
    pub(crate) code: String,
}

/// Returns `src`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns all files that are not only tests.
pub(crate) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    assert!(files.len() > 40, "the sources were found");
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(root()).unwrap().to_str().unwrap();
            (path.to_owned(), bare(&fs::read_to_string(file).unwrap()))
        })
        .collect();
    let tests: Vec<String> = texts
        .iter()
        .flat_map(|(path, bare)| {
            let folder = path.strip_suffix("mod.rs").map(str::to_owned);
            let folder = folder.unwrap_or_else(|| path.replace(".rs", "/"));
            let names = test_modules(bare).into_iter();
            names.map(move |name| format!("{folder}{name}"))
        })
        .collect();
    let is_test = |path: &str| {
        let rest = tests.iter().find_map(|test| path.strip_prefix(&**test));
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    texts
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, bare)| Source {
            path,
            code: without_tests(bare),
        })
        .collect()
}

fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// Returns the names of the modules that are declared as tests: `#[cfg(test)] mod name;`.
fn test_modules(bare: &str) -> Vec<String> {
    let items = bare.match_indices(TEST).filter_map(|(at, _)| {
        let item = bare.get(at..at + item_len(bare.get(at..)?))?;
        let (_, name) = item.strip_suffix(';')?.rsplit_once("mod ")?;
        name.chars().all(is_word).then(|| name.to_owned())
    });
    items.collect()
}

/// Removes comments and literals.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let is_inside_word = out.ends_with(is_word);
        let length = unread_len(rest, is_inside_word).unwrap_or(0);
        if length == 0 {
            out.push(next);
            rest = rest.get(next.len_utf8()..).unwrap();
        } else {
            let (unread, after) = rest.split_at(length);
            out.extend(unread.chars().filter(|c| *c == '\n'));
            rest = after;
        }
    }
    out
}

/// Returns the length of the comment, string or character that a text begins with.
fn unread_len(text: &str, is_inside_word: bool) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if let Some(rest) = text.strip_prefix("/*") {
        return Some(rest.find("*/").map_or(text.len(), |end| end + 4));
    }
    if let Some(rest) = text.strip_prefix('\'') {
        // Otherwise it is a lifetime.
        let escaped = rest.starts_with('\\');
        let end = if escaped {
            rest.get(2..)?.find('\'')? + 2
        } else {
            rest.chars().next()?.len_utf8()
        };
        return rest.get(end..)?.starts_with('\'').then_some(end + 2);
    }
    if !is_inside_word
        && let Some(rest) = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))
    {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if rest.get(hashes..)?.starts_with('"') {
            let begin = text.len() - rest.len() + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            return Some(begin + text.get(begin..)?.find(&close)? + close.len());
        }
    }
    let rest = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = rest.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end? + 2)
}

/// Removes the items that exist only in tests, wherever they stand.
fn without_tests(mut code: String) -> String {
    while let Some(start) = code.find(TEST) {
        let end = start + item_len(code.get(start..).unwrap());
        let lines = code.get(start..end).unwrap().matches('\n').count();
        code.replace_range(start..end, &"\n".repeat(lines));
    }
    code
}

/// Returns the length of the item that a text begins with, and of its attributes.
fn item_len(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            // The last item of a block.
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return at + 1;
        }
    }
    text.len()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn only_code_is_read() {
    let code = |text: &str| without_tests(bare(text));
    assert_eq!(code("a // crate::b\n\"crate::c\" d"), "a \n d");
    assert_eq!(code("r#\"a\"b\"#; '\"' '\\'' 'c /* d\n */"), ";   'c \n");
    let text = "use a;\n#[cfg(test)]\nmod testing;\nuse b;\n#[cfg(test)]\n#[x(y)]\nfn f() -> [u8; 2] {\n}\nc";
    assert_eq!(code(text), "use a;\n\n\nuse b;\n\n\n\n\nc");
    assert_eq!(code("{ #[cfg(test)] a() }"), "{ }");
    assert_eq!(test_modules(text), ["testing"]);
}
