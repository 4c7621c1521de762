//! Parses and formats durations and sizes. Both directions follow the same rules, so what is shown can be read back.

use std::time::Duration;

use crate::config::spelling;

/// Units of time in milliseconds, largest first, because a duration is written in that order.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// The pattern of a duration, for the schema.
pub(crate) const TIME_PATTERN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// The pattern of a size, for the schema.
pub(crate) const SIZE_PATTERN: &str = "^[0-9]+(B|KB|KiB|MB|MiB|GB|GiB)$";

/// Parses a duration such as `250ms`, `5s`, `1m30s`, `1h` or `7d`: whole numbers, each with a unit, the larger unit
/// first.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Err(format!("needs a unit: `{text}s` or `{text}ms`"));
    }
    let mut rest = text;
    let mut units = TIMES.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = leading(rest, |byte| byte.is_ascii_digit());
        let (unit, after) = leading(after, |byte| byte.is_ascii_alphabetic());
        // The search continues after the last unit found, so `30s1m` and `1s1s` are rejected.
        let factor = units
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor);
        let part = digits
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(count, factor)| count.checked_mul(factor));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| not_a_duration(text))?;
        rest = after;
    }
    if text.is_empty() {
        Err(not_a_duration(text))
    } else {
        Ok(Duration::from_millis(total))
    }
}

/// Parses a size such as `512B`, `64KiB` or `16MB`. A number without a unit counts bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    if let Some(bytes) = whole(text) {
        return Ok(bytes);
    }
    let (digits, unit) = leading(text, |byte| byte.is_ascii_digit());
    let factor = SIZES
        .iter()
        .find(|(name, _)| *name == unit.trim_start())
        .map(|(_, factor)| *factor);
    digits
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(count, factor)| count.checked_mul(factor))
        .ok_or_else(|| not_a_size(text))
}

/// Says why a text is not a size, and how it is written if what it means is clear.
fn not_a_size(text: &str) -> String {
    let (digits, unit) = leading(text, |byte| byte.is_ascii_digit());
    let letter = unit.trim_start().to_uppercase();
    if !digits.is_empty() && matches!(&*letter, "K" | "M" | "G") {
        return format!("needs a whole unit: `{digits}{letter}iB` or `{digits}{letter}B`");
    }
    match spelling::bytes(text) {
        Some((bytes, true)) => {
            let (unit, factor) = [("GB", 1_000_000_000_u64), ("MB", 1_000_000), ("KB", 1_000)]
                .into_iter()
                .find(|(_, factor)| bytes.is_multiple_of(*factor) && bytes > 0)
                .unwrap_or(("B", 1));
            format!("is not a size; did you mean `{}{unit}`?", bytes / factor)
        }
        Some((bytes, false)) => format!("is not a size; did you mean `{}`?", show_size(bytes)),
        None => "is not a size such as `64KiB`, `16MiB` or `512B`".to_owned(),
    }
}

/// Parses a whole number. `1e+06` is accepted, because Helm writes large numbers that way.
pub(crate) fn whole(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse::<u64>() {
        return Some(number).filter(|_| !text.starts_with('+'));
    }
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let exponent: usize = exponent
        .strip_prefix('+')
        .unwrap_or(exponent)
        .parse()
        .ok()?;
    let (head, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = exponent
        .checked_sub(fraction.len())
        .filter(|zeros| *zeros < 20)?;
    let digits = format!("{head}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(10_u64.checked_pow(u32::try_from(zeros).ok()?)?)
}

/// Returns the shortest text that [`duration`] parses as `time`, rounded down to milliseconds.
pub(crate) fn show_duration(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in TIMES {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    text
}

/// Returns the shortest exact text in binary units that [`size`] parses as `bytes`.
pub(crate) fn show_size(bytes: u64) -> String {
    let (unit, factor) = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Formats a number of bytes for people to read, rounded down to one decimal place.
pub(crate) fn rough_size(bytes: u64) -> String {
    let (unit, factor) = [
        ("TiB", 1_u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ]
    .into_iter()
    .find(|(_, factor)| bytes >= *factor)
    .unwrap_or(("B", 1));
    let tenths = u128::from(bytes) * 10 / u128::from(factor);
    if tenths % 10 == 0 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Says that a text is not a duration, and how it is written if what it means is clear.
fn not_a_duration(text: &str) -> String {
    spelling::milliseconds(text).map_or_else(
        || "is not a duration such as `5s`, `250ms`, `1m30s` or `1h`".to_owned(),
        |millis| {
            let right = show_duration(Duration::from_millis(millis));
            format!("is not a duration; did you mean `{right}`?")
        },
    )
}

/// Splits `text` after its longest prefix whose bytes are all `wanted`.
fn leading(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !wanted(byte))
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_and_descend() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1d12h", 129_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "0",
            "5",
            "s",
            "5 s",
            "-1s",
            "1.5s",
            "30s1m",
            "1s1s",
            "5sec",
            "99999999999999999999s",
            "1m30",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(
            duration("30"),
            Err("needs a unit: `30s` or `30ms`".to_owned())
        );
        for (text, right) in [
            ("1.5s", "1s500ms"),
            ("5 min", "5m"),
            ("5sec", "5s"),
            ("90 seconds", "1m30s"),
            ("30s1m", "1m30s"),
            ("1m30", "1m30s"),
        ] {
            let want = format!("is not a duration; did you mean `{right}`?");
            assert_eq!(duration(text), Err(want), "{text}");
        }
        let plain = "is not a duration such as `5s`, `250ms`, `1m30s` or `1h`".to_owned();
        assert_eq!(duration("soon"), Err(plain));
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        for (text, bytes) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("16MB", 16_000_000),
            ("1 MiB", 1 << 20),
            ("2GiB", 2 << 30),
            ("0", 0),
            ("77", 77),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "KiB",
            "1.5MiB",
            "-1B",
            "64k",
            "64kib",
            "1TB",
            "99999999999GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(
            size("64k"),
            Err("needs a whole unit: `64KiB` or `64KB`".to_owned())
        );
        for (text, right) in [
            ("64kib", "64KiB"),
            ("1.5MiB", "1536KiB"),
            ("10 megabytes", "10MB"),
            ("1.5gb", "1500MB"),
            ("1TB", "1000GB"),
            ("64b", "64B"),
        ] {
            let want = format!("is not a size; did you mean `{right}`?");
            assert_eq!(size(text), Err(want), "{text}");
        }
    }

    #[test]
    fn whole_numbers_survive_helm() {
        for (text, want) in [
            ("10000", Some(10_000)),
            ("1e+06", Some(1_000_000)),
            ("1.5e+06", Some(1_500_000)),
            ("1.5", None),
            ("1e-3", None),
            ("e3", None),
            ("+1", None),
            ("1e99", None),
        ] {
            assert_eq!(whole(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 999, 1_000, 90_000, 3_600_000, 86_461_001] {
            let time = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(time)), Ok(time));
        }
        for bytes in [0, 1, 1_023, 1_024, 1_000_000, 1 << 20, 3 << 30] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(rough_size(10_485_760_000), "9.7 GiB");
    }
}
