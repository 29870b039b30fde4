//! Making up for records that were lost, and comparing what is counted with what the kernel counts.

use wellhead_common::maps::{SpillKey, SpillValue};

use super::super::source::Source;
use super::State;
use crate::events::Spilled;
use crate::identity::OwnerId;
use crate::kernel::{LiveTcp, Tallied};
use crate::recording::{SpilledEntries, Told};
use crate::telemetry::aggregate::Aggregator;

impl<S: Source> State<S> {
    /// Connections counted as active that the kernel's table does not have any more. The news of their end may be on
    /// its way.
    pub(in super::super) fn connections_that_ended(&self) -> Vec<u64> {
        let open = self.aggregator.open_connections();
        open.chain(self.aggregator.left_out_connections())
            .filter(|socket| !self.about.source.is_open(*socket))
            .collect()
    }

    /// Those of these connections that are still counted as active are not: the news of their end was lost.
    pub(in super::super) fn connections_vanished(&mut self, sockets: &[u64]) {
        let now = self.clock.now_unix_nano();
        for socket in sockets {
            self.aggregator
                .connection_vanished(&mut self.store, *socket, now);
        }
        if !sockets.is_empty() {
            self.note(|| Told::Vanished {
                sockets: sockets.to_vec(),
            });
        }
    }

    /// The kernel begins to count its connections.
    pub(in super::super) fn check_begins(&mut self) {
        let lost = self.about.source.losses();
        self.invariants.begin(&mut self.aggregator, lost);
    }

    /// It is done, and everything is read that happened meanwhile.
    pub(in super::super) fn check(&mut self, counted: Option<&LiveTcp>) {
        let lost = self.about.source.losses();
        let waiting = !self.waiting.is_empty();
        self.invariants
            .compare(&mut self.aggregator, counted, lost, waiting);
    }

    /// Whether connections were counted as opened, since this was asked last, whose records had waited for a pod's
    /// metadata: when losses were accounted for they were not known yet.
    pub(in super::super) fn take_opened_late(&mut self) -> bool {
        std::mem::take(&mut self.opened_late)
    }

    /// Counts what the programs counted without telling of each.
    pub(in super::super) fn count_tallied(&mut self, tallied: Tallied) {
        let (now, boot_ns) = (self.clock.now_unix_nano(), self.clock.now());
        let mut users = None;
        for dropped in &tallied.drops {
            let owner = if dropped.cgroup_id == 0 {
                let users = users.get_or_insert_with(|| self.identity.users_of_namespaces());
                let user = users.get(&dropped.netns).and_then(Option::as_ref);
                let known = user.and_then(|user| self.identity.owner_of(user, boot_ns));
                known.unwrap_or(OwnerId::NODE)
            } else {
                self.owner_or_node(dropped.cgroup_id)
            };
            if !self.leaves_out_counted(owner, dropped.packets) {
                Aggregator::count_dropped(&mut self.store, owner, dropped, now);
            }
        }
        for udp in &tallied.udp {
            let owner = self.owner_or_node(udp.cgroup_id);
            let datagrams = udp.datagrams_sent + udp.datagrams_received;
            if self.leaves_out_counted(owner, datagrams) {
                continue;
            }
            let Self {
                aggregator,
                store,
                identity,
                ..
            } = self;
            aggregator.count_datagrams(store, identity, (owner, now), (udp, boot_ns));
        }
        if tallied != Tallied::default() {
            self.note(|| Told::Tallied(tallied));
        }
    }

    pub(super) fn owner_or_node(&self, cgroup_id: u64) -> OwnerId {
        let known = self.identity.owner_of_cgroup(cgroup_id);
        known.unwrap_or(OwnerId::NODE)
    }

    /// Counts what the kernel added up of events whose details are lost.
    pub(in super::super) fn count_spilled(&mut self, spilled: &[(SpillKey, SpillValue)]) {
        let now = self.clock.now_unix_nano();
        for (key, value) in spilled {
            let Some(spilled) = Spilled::new(key, value) else {
                continue;
            };
            let owner = self.owner_or_node(spilled.cgroup_id);
            if self.leaves_out_spilled(&spilled, owner) {
                continue;
            }
            let Self {
                aggregator,
                store,
                identity,
                ..
            } = self;
            aggregator.count_spilled(store, identity, owner, &spilled, now);
        }
        if !spilled.is_empty() {
            self.note(|| Told::Spilled(SpilledEntries::new(spilled)));
        }
    }
}
