//! Ids of spans and traces.

use crate::events::ProcessId;

/// Makes ids. All of them follow from the boot id and what they are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    boot: u64,
}

impl Ids {
    pub(super) fn new(boot_id: &str) -> Self {
        Self {
            boot: mix_bytes(boot_id),
        }
    }

    /// The trace of a process tree.
    pub(super) fn trace(self, root: ProcessId) -> [u8; 16] {
        self.both((0, 1), (u64::from(root.pid), root.start_ns))
    }

    /// The span of a process.
    pub(super) fn process(self, process: ProcessId) -> [u8; 8] {
        mix(self.boot_part(2), u64::from(process.pid), process.start_ns).to_be_bytes()
    }

    /// The span of a connection that ended at this time.
    pub(super) fn connection(self, socket: u64, ended_ns: u64) -> [u8; 8] {
        mix(self.boot_part(3), socket, ended_ns).to_be_bytes()
    }

    /// The trace of such a connection of which no process is known.
    pub(super) fn trace_of_connection(self, socket: u64, ended_ns: u64) -> [u8; 16] {
        self.both((3, 4), (socket, ended_ns))
    }

    /// The trace of a container's start.
    pub(super) fn trace_of_start(self, cgroup: u64) -> [u8; 16] {
        self.both((5, 6), (cgroup, 0))
    }

    /// A span of it, by a number from 0 on.
    pub(super) fn start(self, cgroup: u64, number: u64) -> [u8; 8] {
        mix(self.boot_part(7), cgroup, number).to_be_bytes()
    }

    fn both(self, (high, low): (u64, u64), (a, b): (u64, u64)) -> [u8; 16] {
        let high = mix(self.boot_part(high), a, b);
        let low = mix(self.boot_part(low), a, b);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    /// A different number for each use, all from the boot id.
    fn boot_part(self, part: u64) -> u64 {
        spread(self.boot ^ part)
    }
}

/// A fixed, well-spreading function of three numbers that is never 0 (the finaliser of `splitmix64`, chained).
fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mixed = [b, c]
        .into_iter()
        .fold(spread(a), |state, value| spread(state ^ value));
    mixed.max(1)
}

fn mix_bytes(text: &str) -> u64 {
    text.bytes()
        .fold(0, |state, byte| spread(state ^ u64::from(byte)))
}

fn spread(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
