//! Writing down what the state is told, and being told it again.
//!
//! Each thing is written down once it is done: what was asked of the kernel meanwhile stands before it.

use super::super::source::{Recorded, Source};
use super::State;
use crate::recording::{Counts, Entry, Ring, Told};

impl<S: Source> State<S> {
    /// Time has passed before what comes next.
    pub(in super::super) fn note_time(&mut self) {
        let now = self.clock.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.time(now);
        }
    }

    pub(super) fn record(&mut self, ring: Ring, record: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(ring, record);
        }
    }

    /// Writes down what was told.
    pub(in super::super) fn note(&mut self, told: impl FnOnce() -> Told) {
        let now = self.clock.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.time(now);
            recorder.told(&told());
        }
    }

    /// What is about to be used up, if it is to be written down.
    pub(super) fn copy(&self, told: impl FnOnce() -> Told) -> Option<Told> {
        self.recorder.as_ref().map(|_| told())
    }

    pub(super) fn note_copy(&mut self, told: Option<Told>) {
        if let Some(told) = told {
            self.note(|| told);
        }
    }

    /// A second has passed, and this is what the kernel counted by now.
    pub(super) fn note_second(&mut self) {
        self.note_counts();
        self.note(|| Told::Second);
        if let Some(recorder) = &mut self.recorder {
            recorder.second_passed();
        }
    }

    fn note_counts(&mut self) {
        let counts = self.copy(|| Told::Counts(Counts::of(&self.counters)));
        self.note_copy(counts);
    }

    /// Nothing more is told.
    pub(in super::super) fn end_recording(&mut self) {
        self.about.source.publish(&self.counters);
        self.note_counts();
        if let Some(recorder) = self.recorder.take() {
            recorder.end();
        }
    }
}

impl State<Recorded> {
    /// Takes in what was written down.
    pub(in super::super) fn take_in_entry(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Time(boot_ns) => self.clock.set(boot_ns),
            Entry::Record(Ring::Identity, record) => self.handle_cgroup(record),
            Entry::Record(Ring::Other, record) => self.handle(record, |_| {}),
            Entry::Told(told) => self.take_in_told(told),
        }
    }

    fn take_in_told(&mut self, told: Told) {
        match told {
            // Whoever opened the recording has read it.
            Told::Start(_) | Told::End | Told::Missed { .. } => {}
            Told::Cgroups {
                started_ns,
                complete,
                cgroups,
            } => {
                let scanned = crate::identity::scan::Scanned { cgroups, complete };
                self.cgroups_scanned(&scanned, started_ns);
            }
            Told::Pods(update) => self.pods_changed(update),
            Told::Facts(facts) => self.facts_learned(facts),
            Told::HostAddresses(addresses) => self.host_addresses_changed(addresses),
            Told::Cluster(update) => self.cluster_changed(update),
            Told::Backend {
                local,
                remote,
                backend,
            } => self.source().learn_backend(local, remote, backend),
            Told::LostHandshake { sequence, reason } => {
                self.source().learn_lost_handshake(sequence, reason);
            }
            Told::Counts(counts) => counts.set(&self.counters),
            Told::Spilled(spilled) => self.count_spilled(&spilled.entries()),
            Told::Tallied(tallied) => self.count_tallied(tallied),
            Told::Usage(usage) => {
                // Who was found is in the recording.
                let _looked = self.count_usage(usage);
            }
            Told::Vanished { sockets } => self.connections_vanished(&sockets),
            Told::Missing(missing) => self.reconcile(&missing),
            Told::WallClockMoved { nanoseconds } => {
                self.clock.move_wall(nanoseconds);
                self.wall_clock_moved(nanoseconds);
            }
            Told::Second => self.look_after_tables(),
        }
    }
}
