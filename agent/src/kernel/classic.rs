//! The rung of the ladder for kernels without BTF: classic tracepoints, which tell of lifecycles and no more.

use std::{fs, io};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray},
    programs::TracePoint,
};

use super::{
    AttachError, AttachedPrograms, BtfError, Feature, FeatureStatus, ProbeSettings, Probes, Ring,
    Rings,
    features::{MECHANISM_CLASSIC, ProgramStatus},
    positions::Positions,
    probes::{OBJECT, describe, feature_of, page_size, refused, take_ring},
    programs::ProgramError,
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

/// Kernel threads remembered at most: a few for each CPU, and more for file systems and drivers.
const KERNEL_THREADS: u32 = 16_384;

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Attaches what a kernel without BTF allows; `why` there is none.
///
/// # Errors
/// Nothing can be attached this way either.
pub(crate) fn attach(settings: &ProbeSettings, why: BtfError) -> Result<Probes, AttachError> {
    let positions = Positions::resolve();
    let Loaded { mut object, unmade } = load(settings, &positions)?;
    enter_kernel_threads(&mut object)?;
    let features: Vec<FeatureStatus> = Feature::ALL
        .into_iter()
        .map(
            |feature| match unmade.iter().find(|(of, _)| *of == feature) {
                Some((_, reason)) => FeatureStatus::unmade(feature, reason.clone()),
                None => start(&mut object, feature, settings, &positions),
            },
        )
        .collect();
    let works = |status: &FeatureStatus| {
        status.feature != Feature::Identity
            && status
                .programs
                .iter()
                .any(|program| program.problem.is_none())
    };
    if !features.iter().any(works) {
        return Err(AttachError::NoBtf { why, features });
    }
    let rings = Rings {
        identity: Ring::new(take_ring(&mut object, "IDENTITY_RING")?),
        process: Ring::new(take_ring(&mut object, "PROCESS_RING")?),
        network: Ring::new(take_ring(&mut object, "NETWORK_RING")?),
    };
    let counts = object
        .take_map("COUNTS")
        .and_then(|map| PerCpuArray::<MapData, u64>::try_from(map).ok())
        .ok_or(AttachError::Map { name: "COUNTS" })?;
    Ok(Probes {
        rings,
        programs: AttachedPrograms::new(object, counts),
        features,
    })
}

/// The object in the kernel, its programs not yet loaded.
struct Loaded {
    object: Ebpf,
    /// Features whose maps could not be made, and why.
    unmade: Vec<(Feature, String)>,
}

/// Makes the maps. One that cannot be made switches its feature off and nothing else.
fn load(settings: &ProbeSettings, positions: &Positions) -> Result<Loaded, AttachError> {
    let mut settings = settings.clone();
    let mut unmade = Vec::new();
    loop {
        let error = match load_object(&settings, positions) {
            Ok(object) => return Ok(Loaded { object, unmade }),
            Err(error) => error,
        };
        let feature = feature_of(&error).filter(|of| settings.features.contains(of));
        let error = refused(error);
        let (Some(feature), AttachError::Load(_)) = (feature, &error) else {
            return Err(error);
        };
        settings.features.retain(|wanted| *wanted != feature);
        unmade.push((feature, describe(&error, &[])));
    }
}

fn load_object(settings: &ProbeSettings, positions: &Positions) -> Result<Ebpf, EbpfError> {
    let wants = |feature| settings.features.contains(&feature);
    // A map of a feature that is off still has to exist, but not to cost anything.
    let sized = |feature, size: u32, least: u32| if wants(feature) { size } else { least };
    let network_ring = sized(Feature::Tcp, settings.network_ring, page_size());
    let process_ring = sized(Feature::Process, settings.process_ring, page_size());
    let marks = [
        settings.identity_ring / 2,
        process_ring / 2,
        network_ring / 2,
    ];
    let connections = sized(Feature::Tcp, settings.connections, 1);
    let kernel_threads = sized(Feature::Process, KERNEL_THREADS, 1);
    let only_cgroup = settings.only_cgroup.unwrap_or_default();
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    for (global, position) in &positions.globals {
        loader.override_global(global, position, true);
    }
    loader
        .override_global("ONLY_CGROUP", &only_cgroup, true)
        .override_global("IDENTITY_FILL_MARK", &marks[0], true)
        .override_global("PROCESS_FILL_MARK", &marks[1], true)
        .override_global("NETWORK_FILL_MARK", &marks[2], true)
        .map_max_entries("IDENTITY_RING", settings.identity_ring)
        .map_max_entries("PROCESS_RING", process_ring)
        .map_max_entries("NETWORK_RING", network_ring)
        .map_max_entries("CLASSIC_CONNECTIONS", connections)
        .map_max_entries("KERNEL_THREADS", kernel_threads);
    loader.load(OBJECT)
}

fn start(
    object: &mut Ebpf,
    feature: Feature,
    settings: &ProbeSettings,
    positions: &Positions,
) -> FeatureStatus {
    let wanted = feature == Feature::Identity || settings.features.contains(&feature);
    if !wanted {
        return FeatureStatus::switched_off(feature);
    }
    let programs = PROGRAMS
        .iter()
        .filter(|program| program.feature == feature)
        .map(|program| {
            let result = match positions.problems.get(program.tracepoint) {
                Some(problem) => Err(ProgramError::Tracepoint(problem.clone())),
                None => program.start(object),
            };
            ProgramStatus::new(program.name, result, &[])
        });
    FeatureStatus::of_programs(feature, MECHANISM_CLASSIC, programs.collect())
}

impl ClassicProgram {
    /// Loads and attaches it; the object keeps the link.
    fn start(self, object: &mut Ebpf) -> Result<(), ProgramError> {
        let program: &mut TracePoint = object
            .program_mut(self.name)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProgramError::Absent)?;
        program.load().map_err(ProgramError::Load)?;
        program
            .attach(self.category, self.tracepoint)
            .map_err(ProgramError::Attach)?;
        Ok(())
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
        if task_flags(&stat).is_some_and(|flags| flags & PF_KTHREAD != 0) {
            found.push(pid);
        }
    }
    Ok(found)
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
