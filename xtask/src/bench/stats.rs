//! Statistics of rounds: median, minimum and maximum.

use serde::{Deserialize, Serialize};

/// The statistics of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Figure {
    /// Statistics of at least one round.
    pub(super) fn of(rounds: &[f64]) -> Option<Self> {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        // For an even number, the mean of the two in the middle.
        let median = if sorted.len() % 2 == 1 { upper } else { upper.midpoint(*sorted.get(middle - 1)?) };
        Some(Self { median, min, max })
    }

    /// `1.23 (1.20 to 1.31)`
    pub(super) fn show(&self) -> String {
        format!("{} ({} to {})", digits(self.median), digits(self.min), digits(self.max))
    }
}

/// Formats a number with about three significant digits.
pub(super) fn digits(number: f64) -> String {
    match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of events or bytes")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::{Figure, digits};

    /// Odd and even numbers of rounds in any order, and no rounds.
    #[test]
    fn median_of_any_number_of_rounds() {
        let figure = |rounds: &[f64]| Figure::of(rounds).map(|figure| (figure.median, figure.min, figure.max));
        assert_eq!(figure(&[]), None);
        assert_eq!(figure(&[2.0]), Some((2.0, 2.0, 2.0)));
        assert_eq!(figure(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(figure(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0)));
    }

    /// Figures are shown with three significant digits.
    #[test]
    fn figures_have_three_digits() {
        for (number, shown) in [(0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(digits(number), shown);
        }
        assert_eq!(Figure::of(&[1.0, 20.0, 3.0]).unwrap().show(), "3.00 (1.00 to 20.0)");
    }
}
