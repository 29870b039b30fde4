//! Counting what the kernel added up because its events found no room.

use super::flows::{FlowId, FlowSeries, Flows};
use super::process::outcome;
use super::tcp::{count_traffic, was_reset};
use super::{Attributes, Occurrence, units};
use crate::events::{Body, Connection, Event, Spilled, SpilledWhat, executable_name};
use crate::identity::{Identity, OwnerId, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::failure::connect_failure;
use crate::telemetry::store::{Measurement, Store};

/// Counts it. What its details would have told besides, such as durations, stays unknown.
pub(super) fn count(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    (owner, now): (OwnerId, u64),
    spilled: &Spilled,
) {
    let events = units(spilled.events);
    let mut add = |metric, attributes: &[(Attr, Value)]| {
        let attributes = store.intern(attributes);
        store.add(metric, owner, attributes, events, now);
    };
    match &spilled.what {
        SpilledWhat::Forks => add(Metric::ProcessForks, &[]),
        SpilledWhat::Execs(comm) => add(Metric::ProcessExecs, &named(comm)),
        SpilledWhat::Exits(comm, status) => {
            let mut attributes = named(comm);
            attributes.extend(status.and_then(outcome));
            add(Metric::ProcessExits, &attributes);
        }
        SpilledWhat::OomKills(comm) => add(Metric::ProcessOomKills, &named(comm)),
        SpilledWhat::Closes {
            like,
            opens,
            errno,
            totals,
        } => {
            let flow = flow(flows, identity, (owner, now), like.as_ref());
            flows.balance.ended_elsewhere(events - units(*opens));
            for (series, count) in [
                (FlowSeries::Opened, units(*opens)),
                (FlowSeries::Closed, events),
                (
                    FlowSeries::ResetsReceived,
                    if was_reset(*errno) { events } else { 0 },
                ),
            ] {
                if count > 0 {
                    flows.measure(store, flow, series, Measurement::Add(count), now);
                }
            }
            count_traffic(flows, store, flow, totals, now);
        }
        SpilledWhat::Failures { like, totals } => {
            let connection = like.as_ref().map(|end| &end.connection);
            let flow = flow(flows, identity, (owner, now), connection);
            let why = like.as_ref().map_or("_OTHER", connect_failure);
            let error = (Attr::ErrorType, Value::Static(why));
            let attributes = store.intern(&flows.attributes_with(flow, error));
            store.add(
                Metric::TcpConnectionFailures,
                owner,
                attributes,
                events,
                now,
            );
            count_traffic(flows, store, flow, totals, now);
        }
    }
}

/// The name of the executable, where it is known.
fn named(comm: &[u8; 16]) -> Attributes {
    if comm[0] == 0 {
        return Attributes::new();
    }
    let name = executable_name(&[], false, comm);
    vec![(Attr::ProcessExecutableName, Value::Str(name.into()))]
}

/// The flow of connections like this one, of which it is not known when and by whom exactly they were opened; of an owner's connections to unknown peers if there is none.
fn flow(
    flows: &mut Flows,
    identity: &mut Identity,
    whose: (OwnerId, u64),
    like: Option<&Connection>,
) -> FlowId {
    // The names are those of now.
    flow_at(flows, identity, whose, like, (0, u64::MAX - 1))
}

/// The same, opened by a cgroup by this time on the boot clock.
pub(super) fn flow_at(
    flows: &mut Flows,
    identity: &mut Identity,
    (owner, now): (OwnerId, u64),
    like: Option<&Connection>,
    (cgroup_id, boot_ns): (u64, u64),
) -> FlowId {
    let Some(like) = like else {
        return flows.of_unknown_peers(owner);
    };
    let event = Event {
        boot_ns,
        cgroup_id,
        body: Body::TcpOpen(like.clone()),
    };
    let occurrence = Occurrence {
        event: &event,
        unix_nano: now,
        owner,
        process: None,
        backend: None,
        drop_reason: None,
    };
    flows.of(identity, &occurrence, like)
}
