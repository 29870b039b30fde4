//! What processes used so far, read from the iterator over their threads.

use std::io;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};
use wellhead_common::record::{ThreadUsage, Usage};

use super::bpf;
use super::spill::{Plain, from_bytes};
use crate::hash::HashMap;

/// Bytes read at once: as the kernel holds them (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
const PIECE: usize = 32 << 10;

/// What a process used until now, all its threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Boot clock when it started.
    pub start_ns: u64,
    /// Time on a processor, nanoseconds: as the scheduler has it, and as ticks have it in user mode and in the kernel.
    pub runtime_ns: u64,
    /// See [`Self::runtime_ns`].
    pub user_ns: u64,
    /// See [`Self::runtime_ns`].
    pub system_ns: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub write_bytes: u64,
    /// Memory it has now, bytes.
    pub resident_bytes: u64,
    /// The cgroup it is in; 0 where that was not told.
    #[serde(default)]
    pub cgroup_id: u64,
    /// When it was there: boot clock.
    #[serde(default)]
    pub boot_ns: u64,
}

impl ProcessUsage {
    /// As the programs tell it.
    pub fn so_far(&self) -> Usage {
        Usage {
            runtime_ns: self.runtime_ns,
            user_ns: self.user_ns,
            system_ns: self.system_ns,
            read_bytes: self.read_bytes,
            write_bytes: self.write_bytes,
            ..Usage::default()
        }
    }
}

impl Plain for ThreadUsage {}

/// Reads the iterator, and adds up its threads for each process. By process id.
pub(super) fn read(link: BorrowedFd<'_>) -> io::Result<Vec<ProcessUsage>> {
    let mut processes = HashMap::<u32, ProcessUsage>::default();
    let mut rest = Vec::with_capacity(PIECE + size_of::<ThreadUsage>());
    bpf::read_iterator(link, &mut vec![0; PIECE], |piece| {
        rest.extend_from_slice(piece);
        let (threads, after) = rest.as_chunks::<{ size_of::<ThreadUsage>() }>();
        for thread in threads {
            add(&mut processes, &from_bytes(*thread));
        }
        let taken = rest.len() - after.len();
        rest.drain(..taken);
    })?;
    let mut processes: Vec<_> = processes.into_values().collect();
    processes.sort_unstable_by_key(|process| process.pid);
    Ok(processes)
}

fn add(processes: &mut HashMap<u32, ProcessUsage>, thread: &ThreadUsage) {
    let process = processes.entry(thread.pid).or_insert(ProcessUsage {
        pid: thread.pid,
        start_ns: thread.start_ns,
        cgroup_id: thread.cgroup_id,
        boot_ns: thread.boot_ns,
        ..ProcessUsage::default()
    });
    let usage = &thread.usage;
    let sums = [
        (&mut process.runtime_ns, usage.runtime_ns),
        (&mut process.user_ns, usage.user_ns),
        (&mut process.system_ns, usage.system_ns),
        (&mut process.read_bytes, usage.read_bytes),
        (&mut process.write_bytes, usage.write_bytes),
    ];
    for (sum, more) in sums {
        *sum = sum.saturating_add(more);
    }
    // Threads share it; where the first has ended, each of the others tells it. So does it stay where it was when they are moved.
    if thread.resident_bytes > 0 {
        (process.cgroup_id, process.boot_ns) = (thread.cgroup_id, thread.boot_ns);
    }
    process.resident_bytes = process.resident_bytes.max(thread.resident_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_live_ones_say_where_they_are() {
        let thread = |thread, resident_bytes, cgroup_id| ThreadUsage {
            pid: 7,
            thread,
            usage: Usage {
                runtime_ns: 10,
                ..Usage::default()
            },
            resident_bytes,
            cgroup_id,
            ..ThreadUsage::default()
        };
        let check = |threads: &[ThreadUsage], expected| {
            let mut processes = HashMap::default();
            for thread in threads {
                add(&mut processes, thread);
            }
            let all = processes[&7];
            let found = (all.runtime_ns, all.resident_bytes, all.cgroup_id);
            assert_eq!(found, expected, "{threads:?}");
        };
        check(&[thread(7, 4_096, 1), thread(8, 0, 2)], (20, 4_096, 1));
        // The first has ended, and stays where it was.
        let moved = [thread(7, 0, 1), thread(8, 4_096, 2), thread(9, 4_096, 2)];
        check(&moved, (30, 4_096, 2));
        // All have.
        check(&[thread(7, 0, 1)], (10, 0, 1));
    }
}
