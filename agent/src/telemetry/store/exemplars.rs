//! Observations that were part of a span.

use super::{SeriesId, Store};
use crate::counters::Discard;
use crate::telemetry::snapshot::{Exemplar, PointValue};
use crate::telemetry::span::Span;

/// An observation, and the series it was counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// A histogram.
    pub series: SeriesId,
    /// What was observed.
    pub seconds: f64,
    /// When, nanoseconds since the Unix epoch.
    pub unix_nano: u64,
}

impl Store {
    /// The same, which says of each event where its observations were counted.
    #[must_use]
    pub fn with_observations(self, wanted: bool) -> Self {
        Self {
            observed: wanted.then(Vec::new),
            ..self
        }
    }

    /// What was observed since [`Store::forget_observed`].
    pub fn observed(&self) -> &[Observed] {
        self.observed.as_deref().unwrap_or_default()
    }

    /// Another event begins.
    pub fn forget_observed(&mut self) {
        if let Some(observed) = &mut self.observed {
            observed.clear();
        }
    }

    /// The event is also the end of something that was observed, and counted, earlier.
    pub fn recall(&mut self, observed: Observed) {
        if let Some(all) = &mut self.observed {
            all.push(observed);
        }
    }

    /// A span was made of an event: the histograms that count it show it. One exemplar for each bucket, the newest; in all as
    /// many as there may be series.
    pub fn exemplify(&mut self, observed: &[Observed], span: &Span) {
        for one in observed {
            let Observed {
                series,
                seconds,
                unix_nano,
            } = *one;
            let slot = self.slots.get_mut(series.slot as usize);
            let slot = slot.filter(|slot| slot.generation == series.generation);
            let Some(held) = slot.and_then(|slot| slot.series.as_mut()) else {
                continue;
            };
            let PointValue::Histogram(histogram) = &mut held.value else {
                continue;
            };
            let exemplar = Exemplar {
                bucket: histogram.bucket(seconds),
                value: seconds,
                time_unix_nano: unix_nano,
                trace_id: span.trace_id,
                span_id: span.span_id,
                mark: self.readings,
            };
            match histogram.exemplar_place(exemplar.bucket) {
                Ok(at) => histogram.exemplars[at] = exemplar,
                Err(at) if self.exemplars < self.limit => {
                    histogram.exemplars.insert(at, exemplar);
                    self.exemplars += 1;
                }
                Err(_) => self.counters.discard(Discard::StoreExemplarLimit, 1),
            }
        }
    }
}
