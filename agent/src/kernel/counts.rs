//! Numbers the kernel keeps for us: records submitted and lost, and what each program cost.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray},
    sys::{Stats, enable_stats},
};
use libbpf_sys as sys;
use wellhead_common::{
    counts,
    maps::{SpillKey, SpillValue, state},
    record::Kind,
};

use super::{
    ConnectionTable, bpf,
    pins::Pins,
    programs::{NESTED_SET_STATE, Running, SET_STATE},
    spill::{SPILLED, SpillMap},
    steering::Steering,
    tallies::TallyEpoch,
};
use crate::counters::{Counters, Discard, RecordKind};

/// The maps a daemon reads and steers by.
pub(super) struct ControlMaps {
    pub(super) counts: PerCpuArray<MapData, u64>,
    /// Open connections, by socket.
    pub(super) connections: MapData,
    pub(super) spill: SpillMap,
    pub(super) steering: Steering,
}

/// The attached programs, the numbers they keep and the switches they obey. Dropping it detaches those that are not
/// pinned.
pub struct AttachedPrograms {
    /// Holds the links of classic programs, and what they are made of.
    _object: Ebpf,
    running: Vec<Running>,
    maps: ControlMaps,
    /// Held, so that no other agent takes them over; and the generation that works.
    pins: Option<(Pins, u64)>,
    /// Nothing is left of earlier generations.
    settled: bool,
    /// What an earlier agent's spill map held.
    left: Vec<(SpillKey, SpillValue)>,
    /// What earlier agents took notice of, by cell.
    before: Vec<u64>,
    /// Statistics of the programs when this agent took them over.
    stats_before: Vec<ProgramStats>,
    /// While it is open, the kernel measures.
    measuring: Option<OwnedFd>,
    keys_are_cookies: bool,
}

impl ControlMaps {
    /// State changes that were told in place of skipped runs, since the working programs were made.
    fn taken_over(&self) -> u64 {
        let before = self.steering.get(state::TAKEN_OVER_BEFORE);
        sum(&self.counts, counts::TAKEN_OVER).saturating_sub(before)
    }

    /// What the kernel says of these programs. A run that another made up for is not skipped.
    fn stats(&self, running: &[Running]) -> impl Iterator<Item = ProgramStats> {
        let taken_over = self.taken_over();
        running.iter().filter_map(stats_of).map(move |mut stats| {
            stats.recursion_misses = match stats.program {
                SET_STATE => stats.recursion_misses.saturating_sub(taken_over),
                // It is idle where the one it stands in for is not skipped.
                NESTED_SET_STATE => 0,
                _ => stats.recursion_misses,
            };
            stats
        })
    }

    /// The part of the spill map that no program writes to.
    fn unused_epoch(&self) -> u32 {
        u32::from(self.steering.get(state::SPILL_EPOCH) & 1 == 0)
    }
}

impl AttachedPrograms {
    pub(super) fn new(
        object: Ebpf,
        running: Vec<Running>,
        mut maps: ControlMaps,
        pins: Option<(Pins, u64)>,
        left: Vec<MapData>,
    ) -> Self {
        let mut left: Vec<_> = left.into_iter().flat_map(SpillMap::read_all).collect();
        // An agent that was killed after it turned to another place did not take what was in the one before.
        left.extend(maps.spill.take(maps.unused_epoch()));
        let cells = 0..counts::CELLS;
        let stats_before: Vec<_> = maps.stats(&running).collect();
        let skipped = skipped(stats_before.iter().copied());
        let before = cells
            .map(|cell| {
                // Programs of a new generation, and a new array, start at 0.
                let now = match cell {
                    counts::RECURSION => skipped,
                    _ => sum(&maps.counts, cell),
                };
                maps.steering.get(state::ACKNOWLEDGED + cell).min(now)
            })
            .collect();
        Self {
            _object: object,
            running,
            maps,
            pins,
            settled: false,
            left,
            before,
            stats_before,
            measuring: None,
            keys_are_cookies: false,
        }
    }

    /// Says whether the programs know connections by the cookies of their sockets, or by something nobody else can tell.
    pub(super) fn know_cookies(&mut self, know: bool) {
        self.keys_are_cookies = know;
    }

    /// Whether they know connections by the cookies of their sockets, which never come again.
    pub fn know_sockets_by_cookie(&self) -> bool {
        self.keys_are_cookies
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

    /// What each attached program did and cost since this agent has it.
    pub fn stats(&self) -> Vec<ProgramStats> {
        let now = self.maps.stats(&self.running);
        now.map(|stats| {
            let before = self
                .stats_before
                .iter()
                .find(|before| before.program == stats.program);
            before.map_or(stats, |before| stats.since(before))
        })
        .collect()
    }

    /// Whether they go on without this agent, for the next one.
    pub fn are_kept(&self) -> bool {
        self.pins.is_some()
    }

    /// Everything that earlier agents left is read: lets go of it.
    pub fn let_go_of_earlier(&mut self) {
        if self.settled {
            return;
        }
        self.settled = true;
        if let Some((pins, generation)) = &self.pins
            && let Err(error) = pins.keep_only(*generation)
        {
            tracing::warn!(%error, "what earlier agents pinned cannot be removed; the next agent tries again");
        }
    }

    /// State changes told in place of skipped runs, since the working programs were made.
    pub fn taken_over(&self) -> u64 {
        self.maps.taken_over()
    }

    /// Records of a kind that were put into their ring since the maps were made.
    pub fn submitted(&self, kind: Kind) -> u64 {
        self.sum(counts::submitted(kind))
    }

    /// Records of a kind that found their ring full and that no earlier agent took notice of.
    pub fn lost(&self, kind: Kind) -> u64 {
        self.new_in(counts::lost(kind))
    }

    /// Records that found their ring full and whose totals are added up, since the maps were made.
    pub fn losses(&self) -> u64 {
        SPILLED
            .iter()
            .map(|kind| self.sum(counts::lost(*kind)))
            .sum()
    }

    /// Connections for which the table had no room since the maps were made.
    pub fn turned_away(&self) -> u64 {
        self.sum(counts::MAP_FULL)
    }

    /// Open connections that snapshots had no room for so far.
    pub fn deferred(&self) -> u64 {
        self.sum(counts::DEFERRED)
    }

    /// Copies every number the kernel owns into the agent's counters, and notes that it was taken notice of.
    pub fn publish(&mut self, counters: &Counters) {
        let mut full = [0; 4];
        for (kind, record, ring) in KINDS {
            let lost = self.lost(*kind);
            counters.set_lost(*record, lost);
            full[*ring as usize] += lost;
        }
        for stats in self.stats() {
            if let Some(kind) = told_by(stats.program) {
                counters.set_skipped(kind, stats.recursion_misses);
            }
        }
        let [identity, process, network, payload] = full;
        counters.set_discards(Discard::RingIdentityFull, identity);
        counters.set_discards(Discard::RingProcessFull, process);
        counters.set_discards(Discard::RingNetworkFull, network);
        counters.set_discards(Discard::RingPayloadFull, payload);
        counters.set_discards(Discard::KernelMapFull, self.new_in(counts::MAP_FULL));
        counters.set_discards(Discard::KernelReadFailed, self.new_in(counts::READ_FAILED));
        counters.set_discards(Discard::KernelSpillFull, self.new_in(counts::SPILL_FULL));
        counters.set_discards(Discard::KernelDropsFull, self.new_in(counts::DROPS_FULL));
        counters.set_discards(Discard::KernelUdpFull, self.new_in(counts::UDP_FULL));
        counters.set_discards(Discard::KernelRecursion, self.new_in(counts::RECURSION));
        self.acknowledge();
    }

    /// For the next agent, if there can be one: it counts only what comes from here on.
    fn acknowledge(&mut self) {
        if !self.are_kept() {
            return;
        }
        for cell in 0..counts::CELLS {
            let (slot, sum) = (state::ACKNOWLEDGED + cell, self.sum(cell));
            if self.maps.steering.get(slot) != sum {
                // A slot of an existing array can be written.
                let _written = self.maps.steering.set(slot, sum);
            }
        }
    }

    /// Tells the programs that somebody reads what they write: to be called every few seconds. Says whether they worked
    /// until now: if not, what happened meanwhile is not known.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attend(&mut self) -> Result<bool, MapError> {
        let worked = self.maps.steering.is_attended();
        if !worked {
            tracing::warn!(
                "the agent stood still for so long that its programs stopped: what happened meanwhile was not captured"
            );
        }
        self.maps.steering.attend().map(|()| worked)
    }

    /// Forgets a connection that ended without the programs knowing it; says whether an entry of it was left. If so, no
    /// program will tell of its end.
    pub fn forget(&mut self, socket: u64) -> bool {
        bpf::remove_key(self.maps.connections.fd().as_fd(), socket)
    }

    /// The table of open connections, to be compared with the sockets there are. `None` where it does not know them by
    /// what the kernel tells of sockets.
    pub fn connection_table(&self) -> Option<ConnectionTable> {
        if !self.keys_are_cookies {
            return None;
        }
        let map = self.maps.connections.fd().as_fd().try_clone_to_owned();
        let map = map
            .inspect_err(|error| tracing::debug!(%error, "no descriptor is left"))
            .ok()?;
        Some(ConnectionTable::new(
            map,
            self.maps.steering.get(state::SNAPSHOT),
        ))
    }

    /// Begins a snapshot: from now on iterators tell each connection once more.
    pub fn begin_snapshot(&mut self) {
        // The programs keep 32 bits of it, and 0 stands for none.
        let next = (self.maps.steering.get(state::SNAPSHOT) + 1) & u64::from(u32::MAX);
        let _written = self.maps.steering.set(state::SNAPSHOT, next.max(1));
    }

    /// Whether the kernel's table of open connections has this one.
    pub fn is_open(&self, socket: u64) -> bool {
        bpf::has_key(self.maps.connections.fd().as_fd(), socket)
    }

    /// From now on losses are added up in a place of their own. What was added up so far is complete, and can be taken
    /// with what this returns, once all programs that run now have returned: see [`wait_for_programs`].
    pub fn turn_spill(&mut self) -> SpillEpoch {
        let epoch = self.maps.steering.get(state::SPILL_EPOCH) & 1;
        let _written = self.maps.steering.set(state::SPILL_EPOCH, epoch ^ 1);
        SpillEpoch(u32::try_from(epoch).unwrap_or_default())
    }

    /// Takes what was added up.
    pub fn take_spilled(&mut self, epoch: SpillEpoch) -> Vec<(SpillKey, SpillValue)> {
        let mut spilled = std::mem::take(&mut self.left);
        spilled.extend(self.maps.spill.take(epoch.0));
        spilled
    }

    /// From now on what is counted without telling of each goes to a place of its own; as [`Self::turn_spill`].
    pub fn turn_tallies(&mut self) -> TallyEpoch {
        let epoch = self.maps.steering.get(state::TALLY_EPOCH) & 1;
        let _written = self.maps.steering.set(state::TALLY_EPOCH, epoch ^ 1);
        TallyEpoch(u32::try_from(epoch).unwrap_or_default())
    }

    fn new_in(&self, cell: u32) -> u64 {
        let before = usize::try_from(cell)
            .ok()
            .and_then(|cell| self.before.get(cell));
        self.sum(cell)
            .saturating_sub(before.copied().unwrap_or_default())
    }

    fn sum(&self, cell: u32) -> u64 {
        if cell == counts::RECURSION {
            return skipped(self.maps.stats(&self.running));
        }
        sum(&self.maps.counts, cell)
    }
}

/// What all CPUs counted in a cell.
pub(super) fn sum(counts: &PerCpuArray<MapData, u64>, cell: u32) -> u64 {
    // A cell of an existing array cannot be missing; should the kernel refuse to read it, nothing is claimed.
    counts.get(&cell, 0).map_or(0, |values| values.iter().sum())
}

/// Runs the kernel skipped of these programs.
fn skipped(programs: impl Iterator<Item = ProgramStats>) -> u64 {
    programs.map(|stats| stats.recursion_misses).sum()
}

/// Which part of the spill map.
#[derive(Clone, Copy, Debug)]
pub struct SpillEpoch(u32);

/// Waits until every program that runs now has returned. Blocks for some milliseconds.
pub fn wait_for_programs() {
    bpf::wait_for_programs();
}

/// The kind of records that are missing if a program does not run. (Of those for connections one stands for all.)
fn told_by(program: &str) -> Option<RecordKind> {
    Some(match program.strip_prefix("classic_").unwrap_or(program) {
        "cgroup_mkdir" => RecordKind::CgroupMkdir,
        "cgroup_rmdir" => RecordKind::CgroupRmdir,
        "cgroup_attach_task" => RecordKind::CgroupAttach,
        "sched_process_fork" | "task_newtask" => RecordKind::Fork,
        "sched_process_exec" => RecordKind::Exec,
        "sched_process_exit" => RecordKind::Exit,
        "sched_process_free" => RecordKind::Freed,
        "mark_victim" => RecordKind::OomKill,
        SET_STATE => RecordKind::TcpClose,
        _ => return None,
    })
}

#[derive(Clone, Copy)]
enum InRing {
    Identity,
    Process,
    Network,
    Payload,
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
    (Kind::Freed, RecordKind::Freed, InRing::Process),
    (Kind::OomKill, RecordKind::OomKill, InRing::Process),
    (Kind::TcpOpen, RecordKind::TcpOpen, InRing::Network),
    (Kind::TcpClose, RecordKind::TcpClose, InRing::Network),
    (
        Kind::TcpConnectFailed,
        RecordKind::TcpConnectFailed,
        InRing::Network,
    ),
    (Kind::TcpSnapshot, RecordKind::TcpSnapshot, InRing::Network),
    (Kind::Task, RecordKind::Task, InRing::Process),
    (Kind::Dns, RecordKind::Dns, InRing::Payload),
    (Kind::TcpReset, RecordKind::TcpReset, InRing::Network),
    (Kind::TcpListener, RecordKind::TcpListener, InRing::Network),
    (Kind::TcpListen, RecordKind::TcpListen, InRing::Network),
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
    /// How often it was skipped because it was already running on that CPU (since 5.12), and nothing made up for it.
    pub recursion_misses: u64,
    /// Instructions the verifier walked (since 5.16).
    pub verified_instructions: u32,
    /// Bytes of its instructions as the verifier left them.
    pub translated_bytes: u32,
    /// Bytes of machine code; 0 if the kernel interprets it.
    pub machine_code_bytes: u32,
}

impl ProgramStats {
    fn since(self, before: &Self) -> Self {
        Self {
            run_time_ns: self.run_time_ns.saturating_sub(before.run_time_ns),
            runs: self.runs.saturating_sub(before.runs),
            recursion_misses: self
                .recursion_misses
                .saturating_sub(before.recursion_misses),
            ..self
        }
    }
}

fn stats_of(running: &Running) -> Option<ProgramStats> {
    let fd = running.program().as_raw_fd();
    let mut info = sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: `info` is as long as `length` says and all zero, so the kernel follows no pointer in it.
    let result = unsafe { sys::bpf_prog_get_info_by_fd(fd, &raw mut info, &raw mut length) };
    (result == 0).then_some(ProgramStats {
        program: running.name,
        run_time_ns: info.run_time_ns,
        runs: info.run_cnt,
        recursion_misses: info.recursion_misses,
        verified_instructions: info.verified_insns,
        translated_bytes: info.xlated_prog_len,
        machine_code_bytes: info.jited_prog_len,
    })
}
