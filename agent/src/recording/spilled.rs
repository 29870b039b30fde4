//! What the kernel added up of lost records.

use serde::{Deserialize, Serialize};
use wellhead_common::Sixteen;
use wellhead_common::maps::{SpillKey, SpillValue};

/// Entries of the spill map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpilledEntries(Vec<(Key, Value)>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    cgroup_id: u64,
    subject: [u8; 16],
    kind: u32,
    status: u32,
    role: u16,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    records: u64,
    opens: u64,
    bytes_sent: u64,
    bytes_received: u64,
    segments_sent: u64,
    segments_received: u64,
    retransmits: u64,
    because: [u64; 4],
    out_of_order: u64,
    limited: [u64; 3],
}

impl SpilledEntries {
    /// These.
    pub fn new(entries: &[(SpillKey, SpillValue)]) -> Self {
        let written = entries.iter().map(|(key, value)| {
            let key = Key {
                cgroup_id: key.cgroup_id,
                subject: key.subject.bytes(),
                kind: key.kind,
                status: key.status,
                role: key.role,
                port: key.port,
            };
            let value = Value {
                records: value.records,
                opens: value.opens,
                bytes_sent: value.bytes_sent,
                bytes_received: value.bytes_received,
                segments_sent: value.segments_sent,
                segments_received: value.segments_received,
                retransmits: value.retransmits,
                because: value.because,
                out_of_order: value.out_of_order,
                limited: value.limited,
            };
            (key, value)
        });
        Self(written.collect())
    }

    /// As the kernel has them.
    pub fn entries(&self) -> Vec<(SpillKey, SpillValue)> {
        let read = self.0.iter().map(|(key, value)| {
            let key = SpillKey {
                cgroup_id: key.cgroup_id,
                subject: Sixteen::new(key.subject),
                epoch: 0,
                kind: key.kind,
                status: key.status,
                role: key.role,
                port: key.port,
            };
            let value = SpillValue {
                records: value.records,
                opens: value.opens,
                bytes_sent: value.bytes_sent,
                bytes_received: value.bytes_received,
                segments_sent: value.segments_sent,
                segments_received: value.segments_received,
                retransmits: value.retransmits,
                because: value.because,
                out_of_order: value.out_of_order,
                limited: value.limited,
            };
            (key, value)
        });
        read.collect()
    }
}
