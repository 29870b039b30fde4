//! Base-2 exponential histograms, as the OpenTelemetry metrics SDK specification has them ("Base2 Exponential Bucket
//! Histogram Aggregation") and its data model ("`ExponentialHistogram`").
//!
//! Bucket `i` at scale `s` holds the values above `2^(i/2^s)`, up to and including `2^((i+1)/2^s)`. A scale less by one makes
//! each two neighbours one bucket, of half the index.

use std::mem::{size_of, take};

/// Most buckets.
pub const MAX_SIZE: usize = 160;

/// The scale a histogram begins at, of the narrowest buckets there are.
pub const MAX_SCALE: i32 = 20;

/// Of values that are not negative: the agent observes nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exponential {
    scale: i32,
    zeros: u64,
    /// Index of the first bucket.
    offset: i32,
    /// Observations per bucket, at most [`MAX_SIZE`] of them.
    counts: Vec<u64>,
}

impl Default for Exponential {
    fn default() -> Self {
        Self {
            scale: MAX_SCALE,
            zeros: 0,
            offset: 0,
            counts: Vec::new(),
        }
    }
}

impl Exponential {
    /// How narrow the buckets are.
    pub const fn scale(&self) -> i32 {
        self.scale
    }

    /// Observations of exactly 0.
    pub const fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Index of the first bucket.
    pub const fn offset(&self) -> i32 {
        self.offset
    }

    /// Observations per bucket.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Heap memory it takes beside itself, bytes.
    pub const fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }

    pub(super) fn observe(&mut self, value: f64) {
        if value <= 0.0 {
            self.zeros += 1;
            return;
        }
        let scale = self.scale;
        self.count(index_at(value, scale), scale, 1);
    }

    /// Adds another one; the result has the wider buckets of the two, or wider ones still.
    pub(super) fn add(&mut self, more: &Self) {
        self.zeros += more.zeros;
        self.widen(self.scale.saturating_sub(more.scale));
        for (index, count) in (more.offset..).zip(&more.counts) {
            if *count > 0 {
                self.count(index, more.scale, *count);
            }
        }
    }

    /// Takes away what an earlier state of this one had, whose buckets cannot have been wider.
    pub(super) fn subtract(&mut self, earlier: &Self) {
        self.zeros = self.zeros.saturating_sub(earlier.zeros);
        let by = shift(earlier.scale, self.scale);
        for (index, count) in (earlier.offset..).zip(&earlier.counts) {
            let place = usize::try_from((index >> by) - self.offset);
            if let Some(held) = place.ok().and_then(|place| self.counts.get_mut(place)) {
                *held = held.saturating_sub(*count);
            }
        }
        self.trim();
    }

    /// Counts in a bucket that is given at a scale, no smaller than that of this histogram.
    fn count(&mut self, index: i32, scale: i32, more: u64) {
        let index = index >> shift(scale, self.scale);
        let (low, high) = match i32::try_from(self.counts.len()) {
            Ok(0) | Err(_) => (index, index),
            Ok(length) => (
                index.min(self.offset),
                index.max(self.offset.saturating_add(length - 1)),
            ),
        };
        let too_wide = |by: &i32| {
            let width = i64::from(high >> *by) - i64::from(low >> *by);
            usize::try_from(width).is_ok_and(|width| width >= MAX_SIZE)
        };
        // Two indices of 32 bits are neighbours at the latest then.
        let by = (0..31).find(|by| !too_wide(by)).unwrap_or(31);
        self.widen(by);
        let place = self.place(index >> by);
        if let Some(count) = self.counts.get_mut(place) {
            *count += more;
        }
    }

    /// Where a bucket is, which is made if need be.
    fn place(&mut self, index: i32) -> usize {
        if self.counts.is_empty() {
            self.offset = index;
        }
        let before = usize::try_from(self.offset - index).unwrap_or(0);
        drop(self.counts.splice(0..0, std::iter::repeat_n(0, before)));
        self.offset = self.offset.min(index);
        let place = usize::try_from(index - self.offset).unwrap_or(0);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        place
    }

    /// Makes each `2^by` neighbours one bucket, those whose indices are the same but for the last `by` bits.
    pub(super) fn widen(&mut self, by: i32) {
        if by <= 0 {
            return;
        }
        let first = self.offset >> by;
        let mut length = 0;
        for from in 0..self.counts.len() {
            let index = i32::try_from(from).map_or(i32::MAX, |from| self.offset + from);
            let to = usize::try_from((index >> by) - first).unwrap_or(from);
            let count = take(&mut self.counts[from]);
            self.counts[to] += count;
            length = to + 1;
        }
        self.counts.truncate(length);
        self.offset = first;
        self.scale -= by;
    }

    /// Leaves out buckets at both ends that have nothing.
    pub(super) fn trim(&mut self) {
        while self.counts.last() == Some(&0) {
            self.counts.pop();
        }
        let empty = self.counts.iter().take_while(|count| **count == 0).count();
        self.counts.drain(..empty);
        self.offset += i32::try_from(empty).unwrap_or(0);
    }
}

/// By how many bits an index of one scale is shorter at a smaller one.
fn shift(from: i32, to: i32) -> u32 {
    u32::try_from(from - to).unwrap_or(0).min(31)
}

/// The bucket of a value above 0 at a scale.
pub(super) fn index_at(value: f64, scale: i32) -> i32 {
    // Smaller ones have fewer digits, and are none that a clock measures.
    let value = value.max(f64::MIN_POSITIVE);
    let (exponent, is_power) = split(value);
    // A power of two is the largest value of its bucket.
    let whole = exponent - i32::from(is_power);
    if scale <= 0 {
        return whole >> shift(0, scale);
    }
    if is_power {
        return (exponent << scale) - 1;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an exponent is within ±1 074, so this is within 31 bits at the largest scale"
    )]
    let guess = (value.log2() * f64::from(1 << scale)).ceil() as i32 - 1;
    // The logarithm may be off in its last digit.
    if value <= lower_bound(guess, scale) {
        guess - 1
    } else if value > lower_bound(guess + 1, scale) {
        guess + 1
    } else {
        guess
    }
}

/// What the values of a bucket are above, at a scale above 0.
fn lower_bound(index: i32, scale: i32) -> f64 {
    (f64::from(index) / f64::from(1 << scale)).exp2()
}

/// The exponent of a normal number above 0, and whether it is that power of two.
const fn split(value: f64) -> (i32, bool) {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA) as i32 - (f64::MAX_EXP - 1);
    (exponent, bits.trailing_zeros() >= MANTISSA)
}
