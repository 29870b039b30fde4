//! An axis: where on it values are, and its ticks.

use std::iter;

use super::report::Axis;

/// As many labels as can be read beside each other.
const MOST_LABELS: usize = 8;

/// From values to places.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    pub(super) ticks: Vec<Tick>,
}

/// A round number on an axis. The first is the axis' beginning, the last its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) has_label: bool,
}

impl Scale {
    /// With all values that can be on it.
    pub(super) fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        if axis.log {
            let (low, high) = range(values.filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
            Self::with(decades(low, high), true)
        } else {
            let zero = axis.zero.then_some(0.0);
            let (low, high) = range(values.chain(zero)).unwrap_or((0.0, 1.0));
            Self::with(steps(low, high), false)
        }
    }

    fn with(ticks: Vec<Tick>, is_log: bool) -> Self {
        Self {
            low: ticks.first().map_or(0.0, |tick| tick.value),
            high: ticks.last().map_or(1.0, |tick| tick.value),
            is_log,
            ticks,
        }
    }

    /// Zero at the beginning of the axis, one at its end. `None` for what cannot be on it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let part = |value: f64, low: f64, high: f64| (value - low) / (high - low);
        if !self.is_log {
            return Some(part(value, self.low, self.high));
        }
        (value > 0.0).then(|| part(value.ln(), self.low.ln(), self.high.ln()))
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// Ticks in equal steps of 1, 2 or 5 times a power of ten.
fn steps(low: f64, high: f64) -> Vec<Tick> {
    let (low, high) = if low < high {
        (low, high)
    } else if low == 0.0 {
        (0.0, 1.0)
    } else {
        (low - low.abs() / 2.0, low + low.abs() / 2.0)
    };
    let wanted = (high - low) / 5.0;
    let power = power_of_ten(wanted);
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * power);
    let step = steps.into_iter().find(|step| *step >= wanted);
    let step = step.unwrap_or(10.0 * power);
    // A hair aside: a tenth is no number of the machine's.
    let first = (low / step + 1e-9).floor();
    let last = (high / step - 1e-9).ceil();
    iter::successors(Some(first), |at| Some(at + 1.0))
        .take_while(|at| *at <= last)
        // What differs by less than a number can say has no steps that end.
        .take(4 * MOST_LABELS)
        .map(|at| Tick {
            value: at * step,
            has_label: true,
        })
        .collect()
}

/// Ticks at 1, 2 and 5 times each power of ten; labels at all of them, or at the powers alone.
fn decades(low: f64, high: f64) -> Vec<Tick> {
    let all: Vec<(f64, bool)> = iter::successors(Some(low.log10().floor()), |at| Some(at + 1.0))
        .take_while(|at| *at <= high.log10().floor() + 1.0)
        .map(|at| 10_f64.powf(at))
        .flat_map(|power| [(power, true), (2.0 * power, false), (5.0 * power, false)])
        .collect();
    let first = all.iter().rposition(|(value, _)| *value <= low);
    let first = first.unwrap_or(0);
    let last = all.iter().position(|(value, _)| *value >= high);
    let last = last.unwrap_or(all.len() - 1).max(first + 1);
    let shown = all.get(first..=last).unwrap_or(&all);
    let all_have_labels = shown.len() <= MOST_LABELS;
    let powers = shown.iter().filter(|(_, is_power)| *is_power).count();
    let each = powers.div_ceil(MOST_LABELS).max(1);
    let mut passed = 0;
    let tick = |&(value, is_power): &(f64, bool)| {
        passed += usize::from(is_power);
        let has_label = all_have_labels || is_power && (passed - 1).is_multiple_of(each);
        Tick { value, has_label }
    };
    shown.iter().map(tick).collect()
}

fn power_of_ten(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

/// A round number as short as can be: `0.05`, `200`, `10k`, `5M`.
pub(super) fn label(value: f64) -> String {
    let short = |value: f64| {
        let text = format!("{value:.6}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        text.to_owned()
    };
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.0e}");
    }
    for (unit, name) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= unit * 0.999_999 {
            let unit = if name == "k" { 1e3 } else { unit };
            return format!("{}{name}", short(value / unit));
        }
    }
    short(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: (bool, bool) = (false, false);
    const ZERO: (bool, bool) = (false, true);
    const LOG: (bool, bool) = (true, false);

    fn scale((log, zero): (bool, bool), values: &[f64]) -> Scale {
        let axis = Axis {
            label: String::new(),
            log,
            zero,
        };
        Scale::of(&axis, values.iter().copied())
    }

    #[test]
    fn ticks_are_at_round_numbers() {
        for (kind, values, expected) in [
            (LINEAR, &[0.0, 1.0][..], "0 0.2 0.4 0.6 0.8 1"),
            (LINEAR, &[0.91, 1.03], "0.9 0.95 1 1.05"),
            (LINEAR, &[-3.0, 12.0], "-5 0 5 10 15"),
            (ZERO, &[30_000.0, 90_000.0], "0 20k 40k 60k 80k 100k"),
            (ZERO, &[-7.0], "-8 -6 -4 -2 0"),
            (LINEAR, &[], "0 0.2 0.4 0.6 0.8 1"),
            (LINEAR, &[0.0], "0 0.2 0.4 0.6 0.8 1"),
            (LINEAR, &[40.0, 40.0], "20 30 40 50 60"),
            (LOG, &[3.0, 40.0], "2 5 10 20 50"),
            (LOG, &[1.0, 10.0, 0.0], "1 2 5 10"),
            (LOG, &[10.0, 10.0], "10 20"),
            (LOG, &[0.0, -1.0], "1 2 5 10"),
            (LOG, &[3.0, 2e6], "10 100 1000 10k 100k 1M"),
            (LOG, &[1e-9, 9e9], "1e-9 1e-6 0.001 1 1000 1M 1G"),
        ] {
            let ticks = scale(kind, values).ticks;
            let labels = ticks.iter().filter(|tick| tick.has_label);
            let labels: Vec<String> = labels.map(|tick| label(tick.value)).collect();
            assert_eq!(labels.join(" "), expected, "{values:?}");
        }
    }

    #[test]
    fn values_are_between_the_ends() {
        for (kind, value, expected) in [
            (ZERO, 5.0, Some(0.5)),
            (ZERO, 0.0, Some(0.0)),
            (LOG, 10.0, Some(1.0)),
            (LOG, 10_f64.sqrt(), Some(0.5)),
            (LOG, 0.0, None),
            (LOG, -1.0, None),
        ] {
            let place = scale(kind, &[1.0, 10.0]).place(value);
            let place = place.map(|place| (place * 1e6).round() / 1e6);
            assert_eq!(place, expected, "{value}");
        }
    }

    #[test]
    fn labels_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.1 * 3.0, "0.3"),
            (5000.0, "5000"),
            (12_500.0, "12.5k"),
            (-2e7, "-20M"),
            (3e9, "3G"),
            (2e-7, "2e-7"),
            (1e20, "1e20"),
        ] {
            assert_eq!(label(value), expected);
        }
    }
}
