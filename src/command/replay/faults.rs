//! Faults that a replay injects, as they are written on the command line.

use std::time::Duration;

use crate::config;

const KNOWN: &str =
    "expected stall@WHEN, cut@WHEN, reset@WHEN, split=BYTES, gzip, slow-head=TIME or status=CODE";

/// The longest time of a fault.
const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At this time after the request.
    After(Duration),
    /// After this many bytes of the body.
    At(u64),
}

/// The faults of all responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Sends nothing more.
    pub(super) stall: Option<When>,
    /// Closes the connection without the end of the body.
    pub(super) cut: Option<When>,
    /// Resets the connection.
    pub(super) reset: Option<When>,
    /// The most bytes of the body in one write.
    pub(super) split: Option<usize>,
    /// Compresses the body.
    pub(super) gzip: bool,
    /// How much later the head is sent.
    pub(super) slow_head: Option<Duration>,
    /// The status of an error that is answered instead.
    pub(super) status: Option<u16>,
}

impl Faults {
    /// Reads faults, each of which may be named once.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut faults = Self::default();
        for word in words {
            faults
                .add(word.trim())
                .map_err(|why| format!("--fault `{word}`: {why}"))?;
        }
        Ok(faults)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        if word == "gzip" {
            if std::mem::replace(&mut self.gzip, true) {
                return Err(twice("gzip"));
            }
            return Ok(());
        }
        if let Some((name, when)) = word.split_once('@') {
            let place = match name {
                "stall" => &mut self.stall,
                "cut" => &mut self.cut,
                "reset" => &mut self.reset,
                _ => return Err(KNOWN.to_owned()),
            };
            return set(place, name, self::when(name, when)?);
        }
        match word.split_once('=') {
            Some((name @ "split", value)) => set(&mut self.split, name, split(value)?),
            Some((name @ "slow-head", value)) => set(&mut self.slow_head, name, time(value)?),
            Some((name @ "status", value)) => set(&mut self.status, name, status(value)?),
            _ if ["stall", "cut", "reset"].contains(&word) => Err(format!(
                "expected a time or a number of bytes, such as {word}@3s or {word}@120B"
            )),
            _ if word == "split" => Err("expected a number of bytes, such as split=7".to_owned()),
            _ if word == "slow-head" => Err("expected a time, such as slow-head=2s".to_owned()),
            _ if word == "status" => Err("expected a status, such as status=529".to_owned()),
            _ => Err(KNOWN.to_owned()),
        }
    }
}

fn twice(name: &str) -> String {
    format!("{name} is given twice")
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    if place.replace(value).is_some() {
        Err(twice(name))
    } else {
        Ok(())
    }
}

fn when(name: &str, text: &str) -> Result<When, String> {
    if text.ends_with('B') {
        let bytes = config::read_size(text).map_err(|why| format!("`{text}` {why}"))?;
        return Ok(When::At(bytes));
    }
    time(text).map(When::After).map_err(|why| {
        if text.ends_with(['s', 'm', 'h', 'd']) {
            return why;
        }
        format!("expected a time or a number of bytes, such as {name}@3s or {name}@120B")
    })
}

fn time(text: &str) -> Result<Duration, String> {
    let time = config::duration(text).map_err(|why| format!("`{text}` {why}"))?;
    if time > MAX_TIME {
        return Err(format!("`{text}` is longer than 1d"));
    }
    Ok(time)
}

fn split(text: &str) -> Result<usize, String> {
    let digits = text.strip_suffix('B').unwrap_or(text);
    digits
        .parse::<usize>()
        .ok()
        .filter(|bytes| (1..=1 << 20).contains(bytes))
        .ok_or_else(|| "expected a number of bytes from 1 to 1048576, such as split=7".to_owned())
}

fn status(text: &str) -> Result<u16, String> {
    text.parse::<u16>()
        .ok()
        .filter(|code| (400..=599).contains(code))
        .ok_or_else(|| "expected a status from 400 to 599, such as status=529".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Faults, String> {
        let words: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
        Faults::parse(&words)
    }

    #[test]
    fn several_faults_may_be_given() {
        let faults = parse("stall@120B cut@5s split=7 gzip slow-head=2s status=529").unwrap();
        let expected = Faults {
            stall: Some(When::At(120)),
            cut: Some(When::After(Duration::from_secs(5))),
            reset: None,
            split: Some(7),
            gzip: true,
            slow_head: Some(Duration::from_secs(2)),
            status: Some(529),
        };
        assert_eq!(faults, expected);
        assert_eq!(parse("").unwrap(), Faults::default());
        assert_eq!(parse("reset@4KiB").unwrap().reset, Some(When::At(4096)));
    }

    #[test]
    fn a_wrong_fault_is_named_with_what_was_expected() {
        for (words, expected) in [
            ("stall", "stall@3s or stall@120B"),
            ("cut@", "cut@3s or cut@120B"),
            ("cut@120", "cut@3s or cut@120B"),
            ("cut@0.5s", "did you mean `500ms`?"),
            ("stall@1.5KiB", "did you mean `1536B`?"),
            ("explode@3s", "expected stall@WHEN"),
            ("gzip=1", "expected stall@WHEN"),
            ("split=0", "from 1 to"),
            ("split", "split=7"),
            ("status=200", "from 400 to 599"),
            ("slow-head=2", "needs a unit"),
            ("slow-head=2d", "longer than 1d"),
            ("gzip gzip", "gzip is given twice"),
            ("cut@1s cut@2s", "cut is given twice"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.starts_with("--fault `"), "{error}");
            assert!(error.contains(expected), "{words}: {error}");
        }
    }
}
