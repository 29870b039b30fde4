//! Exponential histograms against what the specification and a slower way of working things out say.

use proptest::collection::vec;
use proptest::prelude::*;

use super::exponential::index_at;
use super::*;

fn of(values: &[f64]) -> Exponential {
    let mut histogram = Exponential::default();
    for value in values {
        histogram.observe(*value);
    }
    histogram
}

fn total(histogram: &Exponential) -> u64 {
    histogram.zeros() + histogram.counts().iter().sum::<u64>()
}

#[test]
fn powers_of_two_are_the_largest_values_of_their_buckets() {
    for exponent in [-1_022, -700, -30, -1, 0, 1, 2, 10, 1_023] {
        let power = 2_f64.powi(exponent);
        let above = f64::from_bits(power.to_bits() + 1);
        for scale in 0..=MAX_SCALE {
            let next = exponent << scale;
            assert_eq!(index_at(power, scale), next - 1, "2^{exponent} at {scale}");
            assert_eq!(
                index_at(above, scale),
                next,
                "above 2^{exponent} at {scale}"
            );
        }
    }
}

#[test]
fn examples_of_the_data_model() {
    // Scale 0: (1, 2], (2, 4]; scale 1: each halved at the root; scale -1: (1/4, 1], (1, 4].
    for (value, scale, index) in [
        (1.0, 0, -1),
        (1.5, 0, 0),
        (2.0, 0, 0),
        (2.1, 0, 1),
        (4.0, 0, 1),
        (0.5, 0, -2),
        (1.4, 1, 0),
        (1.5, 1, 1),
        (2.0, 1, 1),
        (0.3, -1, -1),
        (1.0, -1, -1),
        (1.1, -1, 0),
        (4.0, -1, 0),
        (4.1, -1, 1),
    ] {
        assert_eq!(index_at(value, scale), index, "{value} at {scale}");
    }
}

#[test]
fn one_value_stays_at_the_largest_scale_and_far_ones_do_not() {
    let one = of(&[0.123; 5]);
    assert_eq!((one.scale(), one.counts()), (MAX_SCALE, &[5][..]));
    let far = of(&[f64::MIN_POSITIVE, f64::MAX, 0.0, 1.0]);
    // 2 046 exponents in at most 160 buckets.
    assert_eq!((far.scale(), far.zeros(), total(&far)), (-4, 1, 4));
    assert!(far.counts().len() <= MAX_SIZE);
    assert_eq!(of(&[0.0, 0.0]).counts(), [0_u64; 0]);
}

/// Numbers as durations have them, and any others.
fn values(most: usize) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        6 => 1e-6..1e4_f64,
        1 => Just(0.0),
        1 => (-60..60_i32).prop_map(|exponent| 2_f64.powi(exponent)),
        1 => f64::MIN_POSITIVE..f64::MAX,
    ];
    vec(value, 0..most)
}

proptest! {
    #[test]
    fn a_value_is_between_the_bounds_of_its_bucket(value in 1e-300..1e300_f64, scale in -10..=MAX_SCALE) {
        let index = index_at(value, scale);
        let bound = |index: i32| (f64::from(index) * 2_f64.powi(-scale) * std::f64::consts::LN_2).exp();
        // The exponential function's own error.
        let slack = 1.0 + 1e-12;
        prop_assert!(value * slack > bound(index), "{value} is not above {}", bound(index));
        prop_assert!(value <= bound(index + 1) * slack, "{value} is above {}", bound(index + 1));
    }

    #[test]
    fn a_smaller_scale_halves_indices(value in 1e-300..1e300_f64, scale in -9..=MAX_SCALE) {
        prop_assert_eq!(index_at(value, scale) >> 1, index_at(value, scale - 1));
    }

    #[test]
    fn widening_loses_nothing(values in values(200), by in 0..12_i32) {
        let mut wide = of(&values);
        let (before, scale) = (total(&wide), wide.scale());
        prop_assert_eq!(before, values.len() as u64);
        wide.widen(by);
        prop_assert_eq!((total(&wide), wide.scale()), (before, scale - by));
        // Each value is where it would be if it had been counted at that scale.
        let mut counts = vec![0; wide.counts().len()];
        for value in values.iter().filter(|value| **value > 0.0) {
            counts[usize::try_from(index_at(*value, wide.scale()) - wide.offset()).unwrap()] += 1_u64;
        }
        prop_assert_eq!(wide.counts(), counts);
    }

    #[test]
    fn the_scale_is_the_largest_that_fits(values in values(200)) {
        let histogram = of(&values);
        prop_assert!(histogram.counts().len() <= MAX_SIZE && histogram.scale() <= MAX_SCALE);
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let (low, high) = positive().fold((f64::MAX, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if high > 0.0 && histogram.scale() < MAX_SCALE {
            let finer = histogram.scale() + 1;
            let width = i64::from(index_at(high, finer)) - i64::from(index_at(low, finer));
            prop_assert!(usize::try_from(width).unwrap() >= MAX_SIZE, "scale {finer} would do");
        }
    }

    #[test]
    fn what_is_taken_away_and_added_again_is_all(values in values(200), more in values(200)) {
        let earlier = of(&values);
        let mut all = earlier.clone();
        for value in &more {
            all.observe(*value);
        }
        let mut between = all.clone();
        between.subtract(&earlier);
        prop_assert_eq!(total(&between), more.len() as u64);
        prop_assert_eq!(between.scale(), all.scale());
        let mut sum = earlier;
        sum.add(&between);
        // All is as if it had been one from the start; only empty buckets at the ends may be more.
        all.trim();
        sum.trim();
        prop_assert_eq!(sum, all);
    }

    #[test]
    fn two_make_what_one_would_have(values in values(100), more in values(100)) {
        let mut sum = of(&values);
        sum.add(&of(&more));
        let mut one = of(&[values, more].concat());
        prop_assert_eq!(total(&sum), total(&one));
        prop_assert!(sum.scale() <= one.scale());
        one.widen(one.scale() - sum.scale());
        prop_assert_eq!(sum.counts(), one.counts());
    }
}
