//! Statistics over several rounds.

/// The summary of one number over the rounds, for one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

pub fn summary(values: &[f64]) -> Option<Summary> {
    Some(Summary {
        median: median(values)?,
        least: values.iter().copied().reduce(f64::min)?,
        most: values.iter().copied().reduce(f64::max)?,
    })
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 || upper == sorted[middle - 1] {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

/// Returns the ratios within each round, of the rounds that have both numbers.
pub fn ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Vec<f64> {
    compared(ours, theirs, |ours, theirs| ours / theirs)
}

/// Returns the median of a comparison made within each round, over the rounds that have both numbers.
///
/// The machine is faster in some rounds than in others, but both sides of a pair ran on it in the same round.
pub fn paired(
    ours: &[Option<f64>],
    theirs: &[Option<f64>],
    compare: fn(f64, f64) -> f64,
) -> Option<f64> {
    median(&compared(ours, theirs, compare))
}

fn compared(
    ours: &[Option<f64>],
    theirs: &[Option<f64>],
    compare: fn(f64, f64) -> f64,
) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs);
    pairs
        .filter_map(|(ours, theirs)| Some(compare((*ours)?, (*theirs)?)))
        .filter(|value| value.is_finite())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(
            median(&[f64::INFINITY, 1.0, f64::INFINITY, f64::INFINITY]),
            Some(f64::INFINITY)
        );
        let all = summary(&[3.0, 1.0, 2.0]);
        assert_eq!(
            all,
            Some(Summary {
                median: 2.0,
                least: 1.0,
                most: 3.0
            })
        );
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let (ours, theirs) = (
            [Some(10.0), Some(2.0), None],
            [Some(5.0), Some(1.0), Some(100.0)],
        );
        assert_eq!(paired(&ours, &theirs, |a, b| a / b), Some(2.0));
        assert_eq!(ratios(&ours, &theirs), [2.0, 2.0]);
        assert_eq!(paired(&[None], &[Some(1.0)], |a, b| a / b), None);
    }
}
