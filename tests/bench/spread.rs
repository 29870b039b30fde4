//! Numbers that were measured over and over.

/// Some of them, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(1, 2)
    }

    /// Half of them lie between these.
    pub(crate) fn quartiles(&self) -> [f64; 2] {
        [self.at(1, 4), self.at(3, 4)]
    }

    fn at(&self, part: usize, of: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * part / of).copied().unwrap_or(f64::NAN)
    }
}

/// A number of things as one to compute with: none is so large that it would not be exact.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}
