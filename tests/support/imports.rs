//! What the modules of Weir know of each other: `use` lines and paths in expressions, from `crate::` and `super::`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, is_word};

/// A file knows a module there.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) place: String,
}

/// Returns `a::b` for `a/b.rs` and `a/b/mod.rs`.
pub(crate) fn module_of(path: &str) -> String {
    let module = path.trim_end_matches(".rs").replace('/', "::");
    module.strip_suffix("::mod").unwrap_or(&module).to_owned()
}

/// Returns what all files know. A name that a module has only imported counts as what stands behind it, so that nothing
/// is hidden by a re-export.
pub(crate) fn imports(sources: &[Source]) -> Vec<Import> {
    let mut names = Names::default();
    for source in sources {
        names.modules.insert(module_of(&source.path));
    }
    for source in sources {
        names.read(&module_of(&source.path), &source.code);
    }
    let mut found = Vec::new();
    for source in sources {
        let from = module_of(&source.path);
        for (at, path) in paths_in(&from, &source.code) {
            let to = names.module_behind(path);
            if !to.is_empty() && to != from {
                let line = source.code.get(..at).unwrap().matches('\n').count() + 1;
                found.push(Import {
                    from: from.clone(),
                    to,
                    place: format!("src/{}:{line}", source.path),
                });
            }
        }
    }
    found
}

/// The modules, and the names that they have imported, with the paths behind them.
#[derive(Debug, Default)]
struct Names {
    modules: BTreeSet<String>,
    imported: BTreeMap<(String, String), Vec<String>>,
}

impl Names {
    /// Reads the `use` lines of a module.
    fn read(&mut self, module: &str, code: &str) {
        for (at, keyword) in code.match_indices("use ") {
            if code.get(..at).unwrap().ends_with(is_word) {
                continue;
            }
            for word in words(code.get(at + keyword.len()..).unwrap()) {
                let begins = word.split("::").next().unwrap();
                // Otherwise it begins with a module of this one, or with a crate.
                let is_plain = ["crate", "self", "super"].contains(&begins);
                let floor = if is_plain {
                    0
                } else {
                    module.split("::").count()
                };
                let path = absolute(module, &word);
                if self.own(&path) > floor {
                    let name = path.last().unwrap().clone();
                    self.imported.insert((module.to_owned(), name), path);
                }
            }
        }
    }

    /// Returns how many words of a path name a module.
    fn own(&self, path: &[String]) -> usize {
        let is_module = |length: &usize| {
            let module = path.get(..*length).unwrap().join("::");
            self.modules.contains(&module)
        };
        (1..=path.len()).rev().find(is_module).unwrap_or(0)
    }

    /// Returns the module that a path leads to.
    fn module_behind(&self, mut path: Vec<String>) -> String {
        // A name is passed on a few times at most; names that lead to themselves are no path.
        for _ in 0..8 {
            let own = self.own(&path);
            let module = path.get(..own).unwrap().join("::");
            let behind = path.get(own).and_then(|name| {
                let key = (module.clone(), name.clone());
                self.imported.get(&key)
            });
            let Some(behind) = behind.filter(|behind| *behind != &path) else {
                return module;
            };
            let rest = path.split_off(own + 1);
            path = behind.iter().cloned().chain(rest).collect();
        }
        path.get(..self.own(&path)).unwrap().join("::")
    }
}

/// Returns the paths of a file that begin with `crate::` or `super::`, from the top, and where they begin.
fn paths_in(module: &str, code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for keyword in ["crate::", "super::"] {
        for (at, _) in code.match_indices(keyword) {
            let before = code.get(..at).unwrap();
            if before.ends_with(|c: char| is_word(c) || c == ':' || c == '$') {
                continue;
            }
            for word in words(code.get(at..).unwrap()) {
                found.push((at, absolute(module, &word)));
            }
        }
    }
    found
}

/// Returns a path from the top. One that begins with none of `crate`, `self` and `super` begins in the module.
fn absolute(module: &str, word: &str) -> Vec<String> {
    let mut path: Vec<String> = module.split("::").map(str::to_owned).collect();
    for part in word.split("::") {
        match part {
            "" | "self" => {}
            "crate" => path.clear(),
            "super" => drop(path.pop()),
            part => path.push(part.to_owned()),
        }
    }
    path
}

/// Returns the paths of a text that begins with one, each of a `{}` list by itself: `a::{b, c::d}` is `a::b` and
/// `a::c::d`.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    collect(text, "", &mut out);
    out
}

fn collect(text: &str, base: &str, out: &mut Vec<String>) {
    let end = text
        .find(|c: char| !(is_word(c) || c == ':'))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let whole = format!("{base}{word}");
    let list = rest
        .strip_prefix('{')
        .filter(|_| word.ends_with("::") || word.is_empty());
    let Some(list) = list else {
        out.push(whole.trim_end_matches(':').to_owned());
        return;
    };
    let mut depth = 0_u32;
    let mut start = 0;
    for (index, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let item = list.get(start..index).unwrap().trim();
                if !item.is_empty() {
                    collect(item, &whole, out);
                }
                start = index + 1;
                if c == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}
