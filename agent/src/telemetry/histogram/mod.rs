//! Histograms: how observations are spread over buckets, and single observations that were part of a span.

mod exponential;
#[cfg(test)]
mod tests;

use std::mem::size_of;

pub use self::exponential::{Exponential, MAX_SCALE, MAX_SIZE};

/// A histogram over explicit bounds, and what goes with it where it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramValue {
    /// Upper bounds, strictly increasing, without the last (infinite) one.
    pub bounds: &'static [f64],
    /// Observations per bucket, not cumulative; one more than `bounds`.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: f64,
    /// The same observations in buckets that follow from them; OTLP then carries these.
    pub exponential: Option<Exponential>,
    /// Of some buckets, the newest observation that was part of a span. In the order of their buckets, one each at most.
    pub exemplars: Vec<Exemplar>,
}

/// An observation that was part of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The bucket of explicit bounds it was counted in.
    pub bucket: usize,
    /// What was observed.
    pub value: f64,
    /// When, nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// The span's trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// How many readings were taken for export before it was noted.
    pub mark: u64,
}

impl HistogramValue {
    /// Nothing observed yet.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
            exponential: None,
            exemplars: Vec::new(),
        }
    }

    /// The same, with exponential buckets beside the explicit ones if wanted.
    #[must_use]
    pub fn with_exponential(self, wanted: bool) -> Self {
        Self {
            exponential: wanted.then(Exponential::default),
            ..self
        }
    }

    /// Counts one observation, neither negative nor infinite.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.bucket(value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
        if let Some(exponential) = &mut self.exponential {
            exponential.observe(value);
        }
    }

    /// The bucket a value belongs to: a bound is the largest value of its bucket.
    pub fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another histogram of the same bounds.
    pub fn add(&mut self, more: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&more.counts) {
            *count += more;
        }
        self.sum += more.sum;
        if let (Some(exponential), Some(more)) = (&mut self.exponential, &more.exponential) {
            exponential.add(more);
        }
        for exemplar in &more.exemplars {
            match self.exemplar_place(exemplar.bucket) {
                Ok(at) if self.exemplars[at].time_unix_nano < exemplar.time_unix_nano => {
                    self.exemplars[at] = *exemplar;
                }
                Ok(_) => {}
                Err(at) => self.exemplars.insert(at, *exemplar),
            }
        }
    }

    /// Takes away what an earlier state of this histogram had.
    pub fn subtract(&mut self, earlier: &Self) {
        for (count, earlier) in self.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*earlier);
        }
        self.sum -= earlier.sum;
        if let (Some(exponential), Some(earlier)) = (&mut self.exponential, &earlier.exponential) {
            exponential.subtract(earlier);
        }
    }

    /// Where the exemplar of a bucket is, or would be.
    pub(super) fn exemplar_place(&self, bucket: usize) -> Result<usize, usize> {
        self.exemplars
            .binary_search_by_key(&bucket, |exemplar| exemplar.bucket)
    }

    /// Heap memory it takes beside itself, bytes.
    pub fn heap_bytes(&self) -> usize {
        let exponential = self.exponential.as_ref();
        self.counts.capacity() * size_of::<u64>()
            + self.exemplars.capacity() * size_of::<Exemplar>()
            + exponential.map_or(0, Exponential::heap_bytes)
    }
}
