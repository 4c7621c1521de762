//! The values of `-d` and `-H`: the text itself, a file (`@FILE`) or standard input (`@-`).

use std::fs::File;
use std::io::{self, Read};

use super::problem::{Problem, usage};

/// The most bytes that are read from a file or from standard input.
const MAX_BYTES: u64 = 64 << 20;

/// Returns the body that `given` stands for. `flag` is named in errors.
pub(super) fn body(flag: &str, given: &str) -> Result<Vec<u8>, Problem> {
    match given.strip_prefix('@') {
        Some(path) => read(flag, path),
        None => Ok(given.as_bytes().to_vec()),
    }
}

/// Returns the header lines that `given` stands for: itself, or the lines of a file that are not empty. `flag` is named
/// in errors.
pub(super) fn header_lines(flag: &str, given: &str) -> Result<Vec<String>, Problem> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(vec![given.to_owned()]);
    };
    let text = String::from_utf8(read(flag, path)?)
        .map_err(|_| usage(format!("{flag}: {path}: expected text in UTF-8")))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn read(flag: &str, path: &str) -> Result<Vec<u8>, Problem> {
    let wrong = |error: io::Error| usage(format!("{flag}: {path}: {error}"));
    let source: Box<dyn Read> = if path == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(wrong)?)
    };
    let mut bytes = Vec::new();
    // A device has no size, and may have no end.
    let count = source.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    if count.map_err(wrong)? as u64 > MAX_BYTES {
        return Err(usage(format!(
            "{flag}: {path}: expected at most 64 MiB, and there is more"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_header_on_each_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A: 1\r\n\nB: 2\n").unwrap();
        let given = format!("@{}", file.path().display());
        assert_eq!(header_lines("-H", &given).unwrap(), ["A: 1", "B: 2"]);
        assert_eq!(header_lines("-H", "A: 1").unwrap(), ["A: 1"]);
        assert_eq!(body("-d", "{}").unwrap(), b"{}");
    }

    #[test]
    fn errors_name_the_flag_and_the_file() {
        for given in ["@/no/such/file", "@/dev/zero"] {
            let problem = body("-d", given).unwrap_err();
            assert_eq!(problem.code, 2);
            let path = given.trim_start_matches('@');
            assert!(problem.message.starts_with(&format!("-d: {path}: ")));
        }
    }
}
