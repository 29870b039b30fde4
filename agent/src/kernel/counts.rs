//! Numbers the kernel keeps for us: records submitted and lost, and what each program cost.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
    sys::{Stats, enable_stats},
};
use libbpf_sys as sys;
use wellhead_common::{counts, record::Kind};

use super::{classic, programs::PROGRAMS};
use crate::counters::{Counters, Discard, RecordKind};

/// The attached programs and the numbers they keep. Dropping it detaches them all.
pub struct AttachedPrograms {
    object: Ebpf,
    cells: PerCpuArray<MapData, u64>,
    /// While it is open, the kernel measures.
    measuring: Option<OwnedFd>,
}

impl AttachedPrograms {
    pub(crate) fn new(object: Ebpf, cells: PerCpuArray<MapData, u64>) -> Self {
        Self {
            object,
            cells,
            measuring: None,
        }
    }

    /// From now on the kernel measures how long every program on the machine runs, not only these.
    ///
    /// # Errors
    /// It refuses: that takes `CAP_SYS_ADMIN`.
    pub fn measure_run_time(&mut self) -> io::Result<()> {
        let measuring = enable_stats(Stats::RunTime).map_err(|error| error.io_error)?;
        self.measuring = Some(measuring);
        Ok(())
    }

    /// What each attached program did and cost so far.
    pub fn stats(&self) -> Vec<ProgramStats> {
        program_stats(&self.object)
    }

    /// Records of a kind that were put into their ring since the programs were loaded.
    pub fn submitted(&self, kind: Kind) -> u64 {
        self.sum(counts::submitted(kind))
    }

    /// Records of a kind that found their ring full since the programs were loaded.
    pub fn lost(&self, kind: Kind) -> u64 {
        self.sum(counts::lost(kind))
    }

    /// Copies every number the kernel owns into the agent's counters.
    pub fn publish(&self, counters: &Counters) {
        let mut full = [0; 3];
        for (kind, record, ring) in KINDS {
            let lost = self.lost(*kind);
            counters.set_lost(*record, lost);
            full[*ring as usize] += lost;
        }
        let [identity, process, network] = full;
        counters.set_discards(Discard::RingIdentityFull, identity);
        counters.set_discards(Discard::RingProcessFull, process);
        counters.set_discards(Discard::RingNetworkFull, network);
        counters.set_discards(Discard::KernelMapFull, self.sum(counts::MAP_FULL));
        counters.set_discards(Discard::KernelReadFailed, self.sum(counts::READ_FAILED));
        let missed = self
            .stats()
            .iter()
            .map(|program| program.recursion_misses)
            .sum();
        counters.set_discards(Discard::KernelRecursion, missed);
    }

    fn sum(&self, cell: u32) -> u64 {
        // A cell of an existing array cannot be missing; should the kernel refuse to read it, nothing is claimed.
        self.cells
            .get(&cell, 0)
            .map_or(0, |values| values.iter().sum())
    }
}

#[derive(Clone, Copy)]
enum InRing {
    Identity,
    Process,
    Network,
}

const KINDS: &[(Kind, RecordKind, InRing)] = &[
    (Kind::CgroupMkdir, RecordKind::CgroupMkdir, InRing::Identity),
    (Kind::CgroupRmdir, RecordKind::CgroupRmdir, InRing::Identity),
    (
        Kind::CgroupAttach,
        RecordKind::CgroupAttach,
        InRing::Identity,
    ),
    (Kind::Fork, RecordKind::Fork, InRing::Process),
    (Kind::Exec, RecordKind::Exec, InRing::Process),
    (Kind::Exit, RecordKind::Exit, InRing::Process),
    (Kind::OomKill, RecordKind::OomKill, InRing::Process),
    (Kind::TcpOpen, RecordKind::TcpOpen, InRing::Network),
    (Kind::TcpClose, RecordKind::TcpClose, InRing::Network),
    (
        Kind::TcpConnectFailed,
        RecordKind::TcpConnectFailed,
        InRing::Network,
    ),
];

/// What the kernel knows about one of our programs (`struct bpf_prog_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// Its name.
    pub program: &'static str,
    /// Time spent in it; 0 unless run-time statistics are on.
    pub run_time_ns: u64,
    /// How often it ran; 0 unless run-time statistics are on.
    pub runs: u64,
    /// How often it was skipped because it was already running on that CPU (since 5.12).
    pub recursion_misses: u64,
    /// Instructions the verifier walked (since 5.16).
    pub verified_instructions: u32,
}

/// Statistics of every attached program.
fn program_stats(object: &Ebpf) -> Vec<ProgramStats> {
    let of = |name: &'static str| {
        let fd = object.program(name)?.fd().ok()?.as_fd().as_raw_fd();
        let mut info = sys::bpf_prog_info::default();
        let mut length = u32::try_from(size_of_val(&info)).ok()?;
        // SAFETY: `info` is as long as `length` says and all zero, so the kernel follows no pointer in it.
        let result = unsafe { sys::bpf_prog_get_info_by_fd(fd, &raw mut info, &raw mut length) };
        (result == 0).then_some(ProgramStats {
            program: name,
            run_time_ns: info.run_time_ns,
            runs: info.run_cnt,
            recursion_misses: info.recursion_misses,
            verified_instructions: info.verified_insns,
        })
    };
    let names = PROGRAMS.iter().map(|program| program.name);
    let classic = classic::PROGRAMS.iter().map(|program| program.name);
    names.chain(classic).filter_map(of).collect()
}
