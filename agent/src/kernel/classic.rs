//! The rung of the ladder for kernels without BTF: classic tracepoints, which tell of lifecycles and no more.

use std::{fs, io, os::fd::AsFd as _};

use aya::{Ebpf, maps::HashMap, programs::TracePoint};

use super::{
    AttachError, BtfError, Feature, FeatureStatus, ProbeSettings, Probes,
    features::{MECHANISM_CLASSIC, ProgramStatus},
    load::{Facts, Loaded, load},
    positions::Positions,
    probes::{captures_something, obstacle},
    programs::{ProgramError, Running},
};

/// A classic program: its name in the object, and the tracepoint it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassicProgram {
    pub(crate) name: &'static str,
    feature: Feature,
    category: &'static str,
    tracepoint: &'static str,
}

macro_rules! programs {
    ($($name:literal: $feature:ident, $category:literal, $tracepoint:literal;)+) => {
        /// Every classic program of the object, in the order they are attached: who before what.
        pub(crate) const PROGRAMS: &[ClassicProgram] = &[
            $(ClassicProgram {
                name: $name,
                feature: Feature::$feature,
                category: $category,
                tracepoint: $tracepoint,
            }),+
        ];
    };
}

programs! {
    "classic_cgroup_mkdir": Identity, "cgroup", "cgroup_mkdir";
    "classic_cgroup_rmdir": Identity, "cgroup", "cgroup_rmdir";
    "classic_cgroup_attach_task": Identity, "cgroup", "cgroup_attach_task";
    "classic_task_newtask": Process, "task", "task_newtask";
    "classic_sched_process_exec": Process, "sched", "sched_process_exec";
    "classic_sched_process_exit": Process, "sched", "sched_process_exit";
    "classic_mark_victim": Process, "oom", "mark_victim";
    "classic_inet_sock_set_state": Tcp, "sock", "inet_sock_set_state";
}

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Attaches what a kernel without BTF allows; `why` there is none.
///
/// # Errors
/// Nothing can be attached this way either.
pub(crate) fn attach(settings: &ProbeSettings, why: BtfError) -> Result<Probes, AttachError> {
    let reason = why.reason();
    if !matches!(why, BtfError::Absent { .. }) {
        tracing::warn!("{reason}");
    }
    let positions = Positions::resolve();
    let facts = Facts::without_btf(&positions);
    let Loaded { mut object, unmade } = load(settings, &facts, None, None)?;
    enter_kernel_threads(&mut object)?;
    let mut features = Vec::new();
    let mut running = Vec::new();
    // What is kept for the next agent takes BTF; it is told as off like what has no program.
    let all = Feature::ALL.into_iter();
    for feature in all.filter(|feature| *feature != Feature::Conntrack) {
        let status = match obstacle(feature, settings, &unmade, &features) {
            Some((wanted, reason)) => FeatureStatus::off(feature, wanted, reason),
            None => start(&mut object, feature, &positions, &mut running, &reason),
        };
        features.push(status);
    }
    if !features.iter().any(captures_something) {
        return Err(AttachError::NoBtf { why, features });
    }
    let mut probes = Probes::let_work(object, running, features, None, (settings, 0))?;
    probes.without_btf = Some(reason);
    probes.open_conntrack(settings);
    Ok(probes)
}

fn start(
    object: &mut Ebpf,
    feature: Feature,
    positions: &Positions,
    running: &mut Vec<Running>,
    reason: &str,
) -> FeatureStatus {
    let programs: Vec<ProgramStatus> = PROGRAMS
        .iter()
        .filter(|program| program.feature == feature)
        .map(|program| {
            let result = match positions.problems.get(program.tracepoint) {
                Some(problem) => Err(ProgramError::Tracepoint(problem.clone())),
                None => program.start(object),
            };
            let result = result.map(|started| running.push(started));
            ProgramStatus::new(program.name, result, &[])
        })
        .collect();
    if programs.is_empty() {
        return FeatureStatus::off(feature, true, reason);
    }
    FeatureStatus::of_programs(feature, MECHANISM_CLASSIC, programs)
}

impl ClassicProgram {
    /// Loads and attaches it; the object keeps the link.
    fn start(self, object: &mut Ebpf) -> Result<Running, ProgramError> {
        let program: &mut TracePoint = object
            .program_mut(self.name)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProgramError::Absent)?;
        program.load().map_err(ProgramError::Load)?;
        program
            .attach(self.category, self.tracepoint)
            .map_err(ProgramError::Tracefs)?;
        let program = program.fd().map_err(ProgramError::Load)?.as_fd();
        Running::held_by_object(self.name, program)
    }
}

/// Tells the programs which tasks are kernel threads; from then on they see new ones being made.
fn enter_kernel_threads(object: &mut Ebpf) -> Result<(), AttachError> {
    let name = "KERNEL_THREADS";
    let mut map: HashMap<_, u32, u8> = object
        .map_mut(name)
        .and_then(|map| map.try_into().ok())
        .ok_or(AttachError::Map { name })?;
    // In a pid namespace of its own the agent sees none; then the exits of those that exist are told like others.
    for pid in kernel_threads().unwrap_or_default() {
        if map.insert(pid, 0, 0).is_err() {
            break;
        }
    }
    Ok(())
}

fn kernel_threads() -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may have ended meanwhile.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if is_kernel_thread(&stat) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a task is a kernel thread, by its `/proc/PID/stat`.
pub(super) fn is_kernel_thread(stat: &str) -> bool {
    task_flags(stat).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The ninth field of `/proc/PID/stat` (`proc_pid_stat(5)`); the second, in parentheses, may hold anything.
fn task_flags(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_flags_of_a_task() {
        let check = |stat: &str, expected| assert_eq!(task_flags(stat), expected, "{stat}");
        check("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0", Some(2_129_984));
        check("7 (a) b ) S) R 1 2 3 4 5 4194304 0", Some(4_194_304));
        check("7 (cut) S 1 2", None);
        check("", None);
    }
}
