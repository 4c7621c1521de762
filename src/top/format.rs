//! Times, sizes and counts in few characters.

pub(super) use crate::config::rough_size as size;

/// Returns a time in milliseconds with its unit.
pub(super) fn time(ms: u64) -> String {
    let tenths = |value: u64, unit: u64| format!("{}.{}", value / unit, value % unit * 10 / unit);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..100_000 => format!("{} s", tenths(ms, 1_000)),
        100_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// Returns a time that may be unknown.
pub(super) fn maybe(ms: Option<u64>) -> String {
    ms.map_or_else(none, time)
}

/// Returns a pace that may be unknown. A high one has no decimals.
pub(super) fn pace(per_second: Option<f64>) -> String {
    per_second.map_or_else(none, |pace| {
        let decimals = usize::from(pace < 1_000.0);
        format!("{pace:.decimals$}")
    })
}

/// Stands for what is not known.
pub(super) fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_that_fit() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (99_999, "99.9 s"),
            (600_000, "10 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(time(ms), text);
        }
        assert_eq!(maybe(None), "-");
        assert_eq!((pace(Some(12.34)), pace(None)), ("12.3".to_owned(), none()));
        assert_eq!(pace(Some(112_138.3)), "112138");
    }
}
