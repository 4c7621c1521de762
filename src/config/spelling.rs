//! Understands durations and sizes as people write them elsewhere, so that a message can say how they are written here.

/// Longest text that is understood, in bytes. It is that of the longest value that messages show.
const MAX_TEXT: usize = 40;

const TIMES: [(&[&str], u64); 6] = [
    (
        &[
            "ms",
            "msec",
            "msecs",
            "millis",
            "millisecond",
            "milliseconds",
        ],
        1,
    ),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

const SIZES: [(&[&str], u64); 9] = [
    (&["b", "byte", "bytes"], 1),
    (&["kb", "kilobyte", "kilobytes"], 1_000),
    (&["kib", "kibibyte", "kibibytes"], 1 << 10),
    (&["mb", "megabyte", "megabytes"], 1_000_000),
    (&["mib", "mebibyte", "mebibytes"], 1 << 20),
    (&["gb", "gigabyte", "gigabytes"], 1_000_000_000),
    (&["gib", "gibibyte", "gibibytes"], 1 << 30),
    (&["tb", "terabyte", "terabytes"], 1_000_000_000_000),
    (&["tib", "tebibyte", "tebibytes"], 1 << 40),
];

/// Returns the milliseconds that a text such as `1.5s`, `5 min`, `1m30` or `1 hour, 30 minutes` means, if that is
/// clear.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut before = None;
    for part in parts(text)? {
        let factor = match (factor(&TIMES, &part.unit), before) {
            (Some(factor), _) => factor,
            // `1h30` and `1m30` go on with the next smaller unit, and `1.5` is a number of seconds.
            (None, Some(3_600_000)) if part.unit.is_empty() => 60_000,
            (None, Some(60_000)) if part.unit.is_empty() => 1_000,
            (None, None) if part.unit.is_empty() && part.decimals > 0 => 1_000,
            (None, _) => return None,
        };
        total = total.checked_add(part.times(factor)?)?;
        before = Some(factor);
    }
    before.map(|_| total)
}

/// Returns the bytes that a text such as `1.5MiB` or `10 megabytes` means, if that is clear, and whether its unit is a
/// power of ten.
pub(crate) fn bytes(text: &str) -> Option<(u64, bool)> {
    let [part] = parts(text)?.try_into().ok()?;
    let factor = factor(&SIZES, &part.unit)?;
    let is_decimal = factor > 1 && !factor.is_power_of_two();
    Some((part.times(factor)?, is_decimal))
}

fn factor(units: &[(&[&str], u64)], unit: &str) -> Option<u64> {
    let found = units.iter().find(|(names, _)| names.contains(&unit));
    found.map(|(_, factor)| *factor)
}

/// A number and its unit.
struct Part {
    /// The digits of the number, without its point.
    digits: u64,
    /// How many of them stand after the point.
    decimals: u32,
    /// The unit in lower case.
    unit: String,
}

impl Part {
    /// Returns the product, if it is whole.
    fn times(&self, factor: u64) -> Option<u64> {
        let product = self.digits.checked_mul(factor)?;
        let divisor = 10_u64.checked_pow(self.decimals)?;
        product.is_multiple_of(divisor).then(|| product / divisor)
    }
}

/// Takes a text apart: numbers, each with its unit, with spaces and commas between them.
fn parts(text: &str) -> Option<Vec<Part>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut parts = Vec::new();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut digits = String::new();
        let mut decimals = None;
        while let Some(next) = chars.next_if(|next| next.is_ascii_digit() || ".,".contains(*next)) {
            if next.is_ascii_digit() {
                digits.push(next);
                decimals = decimals.map(|count: u32| count + 1);
            } else if decimals.is_none() && !digits.is_empty() {
                decimals = Some(0);
            } else {
                return None;
            }
        }
        while chars.next_if_eq(&' ').is_some() {}
        let mut unit = String::new();
        while let Some(next) = chars.next_if(char::is_ascii_alphabetic) {
            unit.push(next.to_ascii_lowercase());
        }
        while chars.next_if(|next| ", ".contains(*next)).is_some() {}
        // A point needs a digit on both sides.
        let decimals = decimals.unwrap_or(u32::MAX);
        if decimals == 0 {
            return None;
        }
        parts.push(Part {
            digits: digits.parse().ok()?,
            decimals: if decimals == u32::MAX { 0 } else { decimals },
            unit,
        });
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_other_programs_are_understood() {
        for (text, want) in [
            ("1.5s", Some(1_500)),
            ("1,5 s", Some(1_500)),
            ("5 min", Some(300_000)),
            ("5sec", Some(5_000)),
            ("5S", Some(5_000)),
            ("1 hour, 30 minutes", Some(5_400_000)),
            ("30s1m", Some(90_000)),
            ("1m30", Some(90_000)),
            ("1h30", Some(5_400_000)),
            ("1.5", Some(1_500)),
            ("2w", Some(1_209_600_000)),
            ("0.5ms", None),
            ("1.s", None),
            (".5s", None),
            ("1.2.3s", None),
            ("5", None),
            ("5 parsecs", None),
            ("s", None),
            ("-1s", None),
            ("", None),
            ("99999999999999999999s", None),
            ("1s and 2", None),
        ] {
            assert_eq!(milliseconds(text), want, "{text}");
        }
        assert_eq!(milliseconds(&"1s".repeat(21)), None);
    }

    #[test]
    fn sizes_of_other_programs_are_understood() {
        for (text, want) in [
            ("64mib", Some((64 << 20, false))),
            ("1.5MiB", Some((3 << 19, false))),
            ("10 megabytes", Some((10_000_000, true))),
            ("1.5 gb", Some((1_500_000_000, true))),
            ("1TB", Some((1_000_000_000_000, true))),
            ("64b", Some((64, false))),
            ("0.5b", None),
            ("64k", None),
            ("1MiB 5KiB", None),
            ("lots", None),
        ] {
            assert_eq!(bytes(text), want, "{text}");
        }
    }
}
