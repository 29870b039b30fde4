//! What others tell: the cluster, the host, the configuration.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::settings::Reconfigured;
use super::super::source::Source;
use super::State;
use crate::identity::cluster::ClusterUpdate;
use crate::identity::scan::Scanned;
use crate::identity::{NodeFacts, PodUpdate};
use crate::recording::Told;

impl<S: Source> State<S> {
    /// The pods of this node changed.
    pub(in super::super) fn pods_changed(&mut self, update: PodUpdate) {
        let note = self.copy(|| Told::Pods(update.clone()));
        let said = Self::said_of_containers(&update);
        self.trace_pods(&update);
        let now = self.moment();
        for lag in self.identity.apply(update, now) {
            self.about.kube_lag.observe(lag.as_secs_f64());
        }
        self.names_changed();
        self.take_in_said(said);
        self.note_copy(note);
    }

    /// Something in the cluster that has an address changed.
    pub(in super::super) fn cluster_changed(&mut self, update: ClusterUpdate) {
        let note = self.copy(|| Told::Cluster(update.clone()));
        let now = self.moment();
        if self.identity.apply_cluster(update, now) {
            self.names_changed();
        } else {
            self.release_waiting();
        }
        self.note_copy(note);
    }

    /// The configuration changed.
    pub(in super::super) fn reconfigure(&mut self, changed: Reconfigured) {
        let Reconfigured { live, identity } = changed;
        self.store.set_limits(live.series, live.series_per_metric);
        self.settings.live = live;
        self.identity.reconfigure(&identity);
        self.end_left_out();
        self.names_changed();
    }

    /// The API server told more of the node.
    pub(in super::super) fn facts_learned(&mut self, facts: NodeFacts) {
        self.note(|| Told::Facts(facts.clone()));
        self.identity.facts_learned(facts);
    }

    /// The host has other addresses than before.
    pub(in super::super) fn host_addresses_changed(&mut self, addresses: BTreeSet<IpAddr>) {
        let note = self.copy(|| Told::HostAddresses(addresses.clone()));
        self.identity.host_addresses_changed(addresses);
        self.names_changed();
        self.note_copy(note);
    }

    /// A scan of the cgroup tree is done.
    pub(in super::super) fn cgroups_scanned(&mut self, scanned: &Scanned, started: u64) {
        self.identity
            .cgroups_scanned(scanned, started, self.clock.now());
        self.containers_scanned(scanned, started);
        self.note(|| Told::Cgroups {
            started_ns: started,
            complete: scanned.complete,
            cgroups: scanned.cgroups.clone(),
        });
    }
}
