//! Loading the object and attaching its programs, feature by feature.

use std::{error::Error as StdError, io};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader, Endianness,
    maps::{MapData, MapError, PerCpuArray, RingBuf},
};
use thiserror::Error;

use super::{
    AttachedPrograms, BtfError, Capabilities, Capability, Feature, FeatureState, FeatureStatus,
    Hooks, Ring, Rings,
    btf::Btf,
    classic,
    features::{MECHANISM_BTF, ProgramStatus},
    offsets::Offsets,
    programs::PROGRAMS,
};
use crate::causes::causes;

/// The kernel programs, as `cargo xtask build-ebpf` built them.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wellhead-ebpf.o"));

/// The object file of the kernel programs that is built into the agent.
pub fn embedded_object() -> &'static [u8] {
    OBJECT
}

/// What to capture, and with how much kernel memory.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// Features that are wanted; [`Feature::Identity`] always is.
    pub features: Vec<Feature>,
    /// Bytes of the ring for cgroup events; a power of two times the page size, like the others.
    pub identity_ring: u32,
    /// Bytes of the ring for process events.
    pub process_ring: u32,
    /// Bytes of the ring for connection events.
    pub network_ring: u32,
    /// Connections tracked at once.
    pub connections: u32,
    /// Listening ports tracked at once.
    pub listeners: u32,
    /// Capture only this cgroup (its id), not its children.
    pub only_cgroup: Option<u64>,
    /// Only tests set any.
    pub hooks: Hooks,
}

/// No program could be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The kernel's types are not to be had.
    #[error("nothing can be captured")]
    Btf(#[from] BtfError),
    /// The kernel's types are not to be had, and without them nothing can be attached either.
    #[error("nothing can be captured: {}", reasons(features))]
    NoBtf {
        /// Why there are no types.
        #[source]
        why: BtfError,
        /// Why nothing works without them, feature by feature.
        features: Vec<FeatureStatus>,
    },
    /// Capabilities are missing.
    #[error("not permitted: missing {}", list(missing))]
    Privilege {
        /// Which.
        missing: Vec<Capability>,
    },
    /// The kernel refused although no capability is missing.
    #[error(
        "not permitted although no capability is missing: a seccomp filter, a user namespace or kernel lockdown is in \
         the way"
    )]
    Refused(#[source] Box<EbpfError>),
    /// The object could not be loaded for another reason.
    #[error("cannot load the kernel programs")]
    Load(#[source] Box<EbpfError>),
    /// A map of the object is not what the daemon expects: the build is broken.
    #[error("the embedded object has no usable map {name}")]
    Map {
        /// Which map.
        name: &'static str,
    },
    /// Every single program failed.
    #[error("no program could be attached: {}", reasons(features))]
    Nothing {
        /// Why, feature by feature.
        features: Vec<FeatureStatus>,
    },
}

/// Attached programs. Dropping them detaches everything.
pub struct Probes {
    /// The rings the programs write.
    pub rings: Rings,
    /// The programs themselves.
    pub programs: AttachedPrograms,
    /// What works and what does not.
    pub features: Vec<FeatureStatus>,
}

impl Probes {
    /// Loads and attaches whatever the kernel and the process's privileges allow.
    ///
    /// # Errors
    /// Only if nothing at all can be attached.
    pub fn attach(settings: &ProbeSettings) -> Result<Self, AttachError> {
        check_privilege()?;
        settings.hooks.warn();
        let Loaded {
            mut object,
            btf,
            absent,
            unmade,
        } = match load(settings) {
            Ok(loaded) => loaded,
            Err(AttachError::Btf(why)) => return classic::attach(settings, why),
            Err(error) => return Err(error),
        };
        let features = start_programs(&mut object, &btf, settings, &absent, &unmade);
        drop(btf);
        release_freed_memory();
        let any_wanted_works = |status: &FeatureStatus| {
            status.feature != Feature::Identity
                && status
                    .programs
                    .iter()
                    .any(|program| program.problem.is_none())
        };
        if !features.iter().any(any_wanted_works) {
            return Err(AttachError::Nothing { features });
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
        let programs = AttachedPrograms::new(object, counts);
        Ok(Self {
            rings,
            programs,
            features,
        })
    }
}

/// Whether the process may load and attach the programs at all.
///
/// # Errors
/// Capabilities that every feature needs are missing.
pub fn check_privilege() -> Result<(), AttachError> {
    // Without /proc nobody can say; the kernel will.
    let Ok(capabilities) = Capabilities::current() else {
        return Ok(());
    };
    let missing = capabilities.missing(Feature::Process.capabilities());
    if missing.is_empty() {
        Ok(())
    } else {
        Err(AttachError::Privilege { missing })
    }
}

/// The object in the kernel, its programs not yet loaded.
struct Loaded {
    object: Ebpf,
    btf: AyaBtf,
    /// Fields this kernel does not have.
    absent: Vec<String>,
    /// Features whose maps could not be made, and why.
    unmade: Vec<(Feature, String)>,
}

/// Makes the maps. One that cannot be made switches its feature off and nothing else.
fn load(settings: &ProbeSettings) -> Result<Loaded, AttachError> {
    let btf = Btf::parse(settings.hooks.btf_path())?;
    let mut offsets = Offsets::resolve(&btf);
    settings.hooks.apply(&mut offsets);
    let facts = Facts {
        offsets,
        exit_has_group_dead: u32::from(btf.tracepoint_arguments("sched_process_exit") == Some(2)),
        victim_is_task: u32::from(btf.argument_is_pointer("mark_victim", 0) == Some(true)),
    };
    drop(btf);
    let btf = AyaBtf::parse_file(settings.hooks.btf_path(), Endianness::default())
        .map_err(|error| refused(EbpfError::BtfError(error)))?;
    let mut settings = settings.clone();
    let mut unmade = Vec::new();
    let object = loop {
        let error = match load_object(&facts, &settings, &btf) {
            Ok(object) => break object,
            Err(error) => error,
        };
        let Some(feature) = feature_of(&error).filter(|of| settings.features.contains(of)) else {
            return Err(refused(error));
        };
        let error = refused(error);
        if matches!(error, AttachError::Refused(_)) {
            return Err(error);
        }
        settings.features.retain(|wanted| *wanted != feature);
        unmade.push((feature, describe(&error, &[])));
    };
    Ok(Loaded {
        object,
        btf,
        absent: facts.offsets.absent,
        unmade,
    })
}

/// The feature whose map could not be made, if that is the error. Maps that all features use belong to none.
pub(super) fn feature_of(error: &EbpfError) -> Option<Feature> {
    let EbpfError::MapError(MapError::CreateError { name, .. }) = error else {
        return None;
    };
    match name.as_str() {
        "CONNECTIONS" | "CLASSIC_CONNECTIONS" | "LISTENERS" | "NETWORK_RING" => Some(Feature::Tcp),
        "KERNEL_THREADS" | "PROCESS_RING" => Some(Feature::Process),
        _ => None,
    }
}

/// What the programs are told of the running kernel.
struct Facts {
    offsets: Offsets,
    exit_has_group_dead: u32,
    victim_is_task: u32,
}

fn load_object(facts: &Facts, settings: &ProbeSettings, btf: &AyaBtf) -> Result<Ebpf, EbpfError> {
    let tcp = settings.features.contains(&Feature::Tcp);
    // A map of a feature that is off still has to exist, but not to cost anything.
    let sized = |wanted: bool, size: u32, least: u32| if wanted { size } else { least };
    let network_ring = sized(tcp, settings.network_ring, page_size());
    let process_ring = sized(
        settings.features.contains(&Feature::Process),
        settings.process_ring,
        page_size(),
    );
    let marks = [
        settings.identity_ring / 2,
        process_ring / 2,
        network_ring / 2,
    ];
    let only_cgroup = settings.only_cgroup.unwrap_or_default();

    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf));
    for (global, offset) in &facts.offsets.globals {
        loader.override_global(global, offset, true);
    }
    loader
        .override_global("EXIT_HAS_GROUP_DEAD", &facts.exit_has_group_dead, true)
        .override_global("VICTIM_IS_TASK", &facts.victim_is_task, true)
        .override_global("ONLY_CGROUP", &only_cgroup, true)
        .override_global("IDENTITY_FILL_MARK", &marks[0], true)
        .override_global("PROCESS_FILL_MARK", &marks[1], true)
        .override_global("NETWORK_FILL_MARK", &marks[2], true)
        .map_max_entries("IDENTITY_RING", settings.identity_ring)
        .map_max_entries("PROCESS_RING", process_ring)
        .map_max_entries("NETWORK_RING", network_ring)
        .map_max_entries("CONNECTIONS", sized(tcp, settings.connections, 1))
        .map_max_entries("LISTENERS", sized(tcp, settings.listeners, 1));
    loader.load(OBJECT)
}

/// Attaches program by program: one that fails switches its feature off and nothing else.
fn start_programs(
    object: &mut Ebpf,
    btf: &AyaBtf,
    settings: &ProbeSettings,
    absent: &[String],
    unmade: &[(Feature, String)],
) -> Vec<FeatureStatus> {
    let mut features = Vec::new();
    for feature in Feature::ALL {
        let wanted = feature == Feature::Identity || settings.features.contains(&feature);
        if !wanted {
            features.push(FeatureStatus::switched_off(feature));
            continue;
        }
        if let Some((_, reason)) = unmade.iter().find(|(of, _)| *of == feature) {
            features.push(FeatureStatus::unmade(feature, reason.clone()));
            continue;
        }
        let programs: Vec<ProgramStatus> = PROGRAMS
            .iter()
            .filter(|program| program.feature == feature)
            .map(|program| ProgramStatus::new(program.name, program.start(object, btf), absent))
            .collect();
        features.push(FeatureStatus::of_programs(feature, MECHANISM_BTF, programs));
    }
    features
}

/// The chain of causes in one line, the verifier's log cut to its end, where it says what it refused.
pub(super) fn describe(error: &(dyn StdError + 'static), absent: &[String]) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        let lines: Vec<&str> = cause
            .lines()
            .filter(|line| !line.trim().is_empty() && !is_statistics(line))
            .collect();
        let tail = &lines[lines.len().saturating_sub(4)..];
        text = format!("{text}: {}", tail.join(" | "));
    }
    if !absent.is_empty() {
        text = format!(
            "{text} (fields this kernel does not have: {})",
            absent.join(", ")
        );
    }
    text
}

/// What the verifier says of itself at the end of its log; it differs from load to load.
fn is_statistics(line: &str) -> bool {
    let says = ["verification time ", "stack depth ", "processed "];
    says.iter().any(|start| line.starts_with(start))
}

pub(super) fn refused(error: EbpfError) -> AttachError {
    if is_not_permitted(&error) {
        AttachError::Refused(Box::new(error))
    } else {
        AttachError::Load(Box::new(error))
    }
}

fn is_not_permitted(error: &(dyn StdError + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| io.kind() == io::ErrorKind::PermissionDenied)
}

pub(super) fn take_ring(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<RingBuf<MapData>, AttachError> {
    object
        .take_map(name)
        .and_then(|map| RingBuf::try_from(map).ok())
        .ok_or(AttachError::Map { name })
}

pub(super) fn page_size() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Parsing the kernel's types takes tens of MiB that are not needed again; give them back to the system.
fn release_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn list(capabilities: &[Capability]) -> String {
    capabilities
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn reasons(features: &[FeatureStatus]) -> String {
    let mut reasons = Vec::new();
    for status in features {
        if let FeatureState::Off(reason) | FeatureState::Unknown(reason) = &status.state {
            reasons.push(format!("{}: {reason}", status.feature.as_str()));
        }
    }
    reasons.join("; ")
}
