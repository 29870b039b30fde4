//! What the receiver was told of each series: what it has to be told next follows from that.
//!
//! With delta temporality that is what each series stood at when its last point was delivered, which moves only when the next
//! one is. What could not be delivered is so part of the next delta, however many exports fail.

use std::{
    collections::HashMap,
    mem::{size_of, take},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    metrics::{Form, MetricRequests, Told},
    settings::Temporality,
    size::MAX_REQUEST,
};
use crate::{
    identity::Value,
    telemetry::{
        catalogue::{Attr, Metric},
        snapshot::{Point, PointValue, Snapshot},
        store::{ReadSeries, Reading, SeriesId},
    },
};

/// Requests with deltas of one reading after the other, each of them delivered.
#[derive(Debug)]
pub struct DeltaRequests(Ledger);

impl Default for DeltaRequests {
    fn default() -> Self {
        Self(Ledger::new(Temporality::Delta))
    }
}

impl DeltaRequests {
    /// The bodies of the requests that a reading becomes.
    pub fn of(&mut self, reading: Reading) -> Vec<Bytes> {
        let snapshot = Arc::new(self.0.take(reading));
        let form = self.0.form();
        let mut requests = MetricRequests::new(Arc::clone(&snapshot), form, MAX_REQUEST);
        let mut bodies = Vec::new();
        while let Some(request) = requests.next() {
            requests.told().for_each(|told| self.0.told(told));
            bodies.push(request.body);
        }
        self.0.all_told(&snapshot);
        bodies
    }
}

/// Whose state an entry is: a series of the store, or a metric of the agent itself with these attributes.
type Own = (Metric, Arc<[(Attr, Value)]>);

/// The state.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    temporality: Temporality,
    /// The number of the last reading that was delivered as a whole.
    delivered: u64,
    /// Series whose end was told, and that the store need not keep any more.
    ends: Vec<SeriesId>,
    series: HashMap<SeriesId, Entry>,
    own: HashMap<Own, Entry>,
    /// Of points that are several series, the others.
    joined: HashMap<SeriesId, Vec<SeriesId>>,
    /// When the last reading was taken.
    last: u64,
    /// How many there were.
    readings: u64,
}

/// What was told of a series.
#[derive(Debug)]
struct Entry {
    /// What it stood at by then; `None` if nothing was told.
    told: Option<PointValue>,
    /// What it stood at in the last reading, where that is more.
    now: Option<PointValue>,
    /// Since when it is.
    since: u64,
    /// There will be no more.
    ended: bool,
    /// The last reading it was in.
    seen: u64,
}

impl Ledger {
    /// Nothing was told yet.
    pub(super) fn new(temporality: Temporality) -> Self {
        Self {
            temporality,
            ..Self::default()
        }
    }

    /// How the next reading is told.
    pub(super) const fn form(&self) -> Form {
        Form {
            temporality: self.temporality,
            delivered: self.delivered,
        }
    }

    /// Series whose end was told.
    pub(super) fn ends(&self) -> &[SeriesId] {
        &self.ends
    }

    /// The store knows of these by now.
    pub(super) fn forget_ends(&mut self, known: &[SeriesId]) {
        self.ends.retain(|end| !known.contains(end));
    }

    /// Makes of a reading what there is to tell.
    pub(super) fn take(&mut self, mut reading: Reading) -> Snapshot {
        if self.temporality == Temporality::Cumulative {
            return reading.into_snapshot();
        }
        self.readings += 1;
        let time = reading.time_unix_nano();
        reading.retain(|series| self.is_news(series));
        for pending in reading.pending() {
            if let Some(entry) = self.series.get_mut(pending) {
                entry.seen = self.readings;
            }
        }
        for family in &mut reading.rest_mut().families {
            if self.temporality.is_delta(family.metric) {
                let metric = family.metric;
                let points = family.points.iter_mut();
                points.for_each(|point| self.subtract_own(metric, point));
            }
        }
        self.series.retain(|_, entry| entry.seen == self.readings);
        self.own.retain(|_, entry| entry.seen == self.readings);
        self.last = time;
        let snapshot = reading.into_snapshot();
        self.joined.clear();
        for (first, other) in &snapshot.joined {
            self.joined.entry(*first).or_default().push(*other);
        }
        snapshot
    }

    /// A request was delivered that told this.
    pub(super) fn told(&mut self, told: Told<'_>) {
        match told {
            Told::End(series) => self.ends.push(series),
            Told::Point(..) if self.temporality == Temporality::Cumulative => {}
            Told::Point(metric, point) if point.series == SeriesId::NONE => {
                if let Some(entry) = self.own.get_mut(&(metric, Arc::clone(&point.attributes))) {
                    entry.told();
                }
            }
            Told::Point(_, point) => {
                let others = self.joined.remove(&point.series);
                for series in others.into_iter().flatten().chain([point.series]) {
                    let entry = self.series.get_mut(&series);
                    if entry.is_some_and(|entry| entry.told() && entry.ended) {
                        self.ends.push(series);
                    }
                }
            }
        }
    }

    /// All of a reading was delivered.
    pub(super) const fn all_told(&mut self, snapshot: &Snapshot) {
        self.delivered = snapshot.number;
    }

    /// Ends that are not worth a word.
    pub(super) fn told_silently(&mut self, snapshot: &Snapshot) {
        let silent = snapshot.ended.iter().filter(|ended| {
            let has_news = ended
                .changed
                .is_some_and(|changed| changed >= self.delivered);
            ended.goes_on && !has_news
        });
        self.ends.extend(silent.map(|ended| ended.point.series));
    }

    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let heap = |entry: &Entry| {
            let values = [&entry.told, &entry.now].into_iter().flatten();
            values.map(PointValue::heap_bytes).sum::<usize>()
        };
        let entries = self.series.values().chain(self.own.values());
        self.series.capacity() * (size_of::<(SeriesId, Entry)>() + 1)
            + self.own.capacity() * (size_of::<(Own, Entry)>() + 1)
            + self.ends.capacity() * size_of::<SeriesId>()
            + entries.map(heap).sum::<usize>()
    }

    /// Makes a series what is new of it; `false` if nothing is.
    fn is_news(&mut self, series: &mut ReadSeries) -> bool {
        if !self.temporality.is_delta(series.metric) {
            return true;
        }
        let (start, last) = (series.start_unix_nano, self.last);
        let entry = self
            .series
            .entry(series.series)
            .or_insert_with(|| Entry::new(start));
        entry.seen = self.readings;
        entry.ended = series.end_unix_nano > 0;
        if !entry.differs(&series.value, last) {
            if entry.ended {
                self.ends.push(series.series);
            }
            return false;
        }
        series.start_unix_nano = entry.since;
        entry.take_from(&mut series.value);
        // It ends with this; another one of the same name may go on.
        series.end_unix_nano = 0;
        true
    }

    /// The agent's own counts are told whether they grew or not, as they are read and not counted one by one.
    fn subtract_own(&mut self, metric: Metric, point: &mut Point) {
        let key = (metric, Arc::clone(&point.attributes));
        let start = point.start_unix_nano;
        let entry = self.own.entry(key).or_insert_with(|| Entry::new(start));
        entry.seen = self.readings;
        if !entry.differs(&point.value, self.last) {
            entry.since = if entry.told.is_some() {
                self.last
            } else {
                start
            };
        }
        point.start_unix_nano = entry.since;
        entry.take_from(&mut point.value);
    }
}

impl Entry {
    /// Of a series that began then.
    const fn new(start: u64) -> Self {
        Self {
            told: None,
            now: None,
            since: start,
            ended: false,
            seen: 0,
        }
    }

    /// Whether a series stands at something else than was told; the reading before this was taken at `last`.
    fn differs(&mut self, value: &PointValue, last: u64) -> bool {
        let differs = match &self.told {
            Some(told) => told.progress() != value.progress(),
            None => value.progress() != 0,
        };
        // As long as nothing waited to be told, all up to the last reading is told.
        if self.told.is_some() && self.now.is_none() {
            self.since = last;
        }
        if !differs {
            self.now = None;
        }
        differs
    }

    /// Notes what a series stands at, and leaves of it what was not told.
    fn take_from(&mut self, value: &mut PointValue) {
        let now = value.clone();
        if let Some(told) = &self.told {
            value.subtract(told);
        }
        self.now = Some(now);
    }

    /// It was told; whether anything was.
    fn told(&mut self) -> bool {
        let now = take(&mut self.now);
        let any = now.is_some();
        if any {
            self.told = now;
        }
        any
    }
}
