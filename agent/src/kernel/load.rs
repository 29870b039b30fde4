//! Making the object's maps and telling its programs what this kernel is like.

use std::{error::Error as StdError, io};

use aya::{Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader, Endianness, maps::MapError};

use super::{
    AttachError, BtfError, Feature, ProbeSettings,
    btf::Btf,
    drop_reasons::DropReasons,
    jiffies,
    maps::{MAPS, Mode},
    offsets::Offsets,
    pins::{Pins, Plan},
    positions::Positions,
};
use crate::causes::causes;

/// The kernel programs, as `cargo xtask build-ebpf` built them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wellhead-ebpf.o"));

/// The object file of the kernel programs that is built into the agent.
pub fn embedded_object() -> &'static [u8] {
    OBJECT
}

/// What the programs are told of the running kernel.
pub(super) struct Facts {
    mode: Mode,
    /// `.rodata` globals and their values.
    globals: Vec<(&'static str, u32)>,
    /// Fields this kernel does not have.
    pub(super) absent: Vec<String>,
    /// What it calls the reasons for drops.
    pub(super) drop_reasons: DropReasons,
}

impl Facts {
    /// Looks them up in the kernel's BTF.
    pub(super) fn gather(settings: &ProbeSettings) -> Result<Self, BtfError> {
        let btf = Btf::parse(settings.hooks.btf_path())?;
        let mut offsets = Offsets::resolve(&btf);
        settings.hooks.apply(&mut offsets);
        let group_dead = btf.tracepoint_arguments("sched_process_exit") == Some(2);
        let victim_is_task = btf.argument_is_pointer("mark_victim", 0) == Some(true);
        // What stands behind the helper for tracing programs (net/core/filter.c).
        let cookies = btf.has_function("bpf_get_socket_ptr_cookie");
        let current_task = btf.has_function("bpf_get_current_task_btf");
        let drop_arguments = btf.tracepoint_arguments("kfree_skb").unwrap_or_default();
        let retransmit_has_error = btf.tracepoint_arguments("tcp_retransmit_skb") == Some(3);
        let drop_reasons = DropReasons::of(&btf);
        let purged = drop_reasons.number("QUEUE_PURGE").unwrap_or_default();
        let controllers = btf.enumeration("cgroup_subsys_id");
        let memory_controller = controllers
            .iter()
            .find(|(name, _)| name == "memory_cgrp_id");
        let mut globals = offsets.globals;
        globals.extend([
            (
                "MEMORY_CONTROLLER",
                memory_controller.map_or(u32::MAX, |(_, number)| *number),
            ),
            ("PAGE_SIZE", page_size()),
            ("EXIT_HAS_GROUP_DEAD", u32::from(group_dead)),
            ("VICTIM_IS_TASK", u32::from(victim_is_task)),
            ("SOCKET_COOKIES", u32::from(cookies)),
            ("CURRENT_TASK", u32::from(current_task)),
            (
                "DROP_ARGUMENTS",
                u32::try_from(drop_arguments).unwrap_or_default(),
            ),
            ("QUEUE_PURGE", purged),
            ("RETRANSMIT_HAS_ERROR", u32::from(retransmit_has_error)),
            ("JIFFIES_PER_SECOND", jiffies::per_second().unwrap_or(0)),
        ]);
        Ok(Self {
            mode: Mode::Btf,
            globals,
            absent: offsets.absent,
            drop_reasons,
        })
    }

    /// Those of a kernel without BTF.
    pub(super) fn without_btf(positions: &Positions) -> Self {
        Self {
            mode: Mode::Classic,
            globals: positions.globals.clone(),
            absent: Vec::new(),
            drop_reasons: DropReasons::default(),
        }
    }

    /// Whether the programs know sockets by their cookies.
    pub(super) fn has_cookies(&self) -> bool {
        self.globals.contains(&("SOCKET_COOKIES", 1))
    }

    /// A number that is another one whenever programs would be made differently.
    pub(super) fn fingerprint(&self, settings: &ProbeSettings) -> u64 {
        let mut hash = Fnv::default();
        hash.add(settings.object);
        for (name, value) in &self.globals {
            hash.add(name.as_bytes());
            hash.add(&value.to_ne_bytes());
        }
        for spec in MAPS {
            hash.add(&spec.entries(settings, self.mode).to_ne_bytes());
        }
        for feature in &settings.features {
            hash.add(feature.as_str().as_bytes());
        }
        for program in &settings.hooks.left_out {
            hash.add(program.as_bytes());
        }
        hash.add(&packed(&settings.dns_ports).to_ne_bytes());
        hash.add(&settings.only_cgroup.unwrap_or_default().to_ne_bytes());
        // 0 stands for none.
        hash.0.max(1)
    }
}

/// The hash of Fowler, Noll and Vo, 64 bits: the same in every build.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The kernel's types once more, for aya.
pub(super) fn aya_btf(settings: &ProbeSettings) -> Result<AyaBtf, BtfError> {
    let path = settings.hooks.btf_path();
    AyaBtf::parse_file(path, Endianness::default()).map_err(|error| BtfError::Parse {
        path: path.to_owned(),
        source: io::Error::other(error),
    })
}

/// The object in the kernel, its programs not yet loaded.
pub(super) struct Loaded {
    pub(super) object: Ebpf,
    /// Features whose maps could not be made, and why.
    pub(super) unmade: Vec<(Feature, String)>,
}

/// Makes the maps, or takes over pinned ones. One that cannot be made switches its feature off and nothing else.
pub(super) fn load(
    settings: &ProbeSettings,
    facts: &Facts,
    btf: Option<&AyaBtf>,
    pins: Option<(&Pins, &Plan)>,
) -> Result<Loaded, AttachError> {
    let mut settings = settings.clone();
    let mut unmade = Vec::new();
    let object = loop {
        let error = match load_object(facts, &settings, btf, pins) {
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
    Ok(Loaded { object, unmade })
}

/// The feature whose map could not be made, if that is the error. Maps that all features use belong to none.
fn feature_of(error: &EbpfError) -> Option<Feature> {
    let EbpfError::MapError(MapError::CreateError { name, .. }) = error else {
        return None;
    };
    MAPS.iter().find(|spec| spec.name == name)?.feature
}

fn load_object(
    facts: &Facts,
    settings: &ProbeSettings,
    btf: Option<&AyaBtf>,
    pins: Option<(&Pins, &Plan)>,
) -> Result<Ebpf, EbpfError> {
    let entries = |name: &str| {
        let spec = MAPS.iter().find(|spec| spec.name == name);
        spec.map_or(0, |spec| spec.entries(settings, facts.mode))
    };
    // From half of a ring on its reader is woken.
    let marks = [
        "IDENTITY_RING",
        "PROCESS_RING",
        "NETWORK_RING",
        "PAYLOAD_RING",
    ]
    .map(|ring| entries(ring) / 2);
    let counts_datagrams = u32::from(settings.wants(Feature::Udp));
    let dns_ports = if settings.wants(Feature::Dns) {
        packed(&settings.dns_ports)
    } else {
        0
    };
    let only_cgroup = settings.only_cgroup.unwrap_or_default();
    let generation = pins.map_or(1, |(_, plan)| plan.generation);

    let mut loader = EbpfLoader::new();
    loader.btf(btf);
    for (global, value) in &facts.globals {
        loader.override_global(global, value, true);
    }
    loader
        .override_global("ONLY_CGROUP", &only_cgroup, true)
        .override_global("GENERATION", &generation, true)
        .override_global("IDENTITY_FILL_MARK", &marks[0], true)
        .override_global("PROCESS_FILL_MARK", &marks[1], true)
        .override_global("NETWORK_FILL_MARK", &marks[2], true)
        .override_global("PAYLOAD_FILL_MARK", &marks[3], true)
        .override_global("COUNT_DATAGRAMS", &counts_datagrams, true)
        .override_global("DNS_PORTS", &dns_ports, true);
    for spec in MAPS {
        loader.map_max_entries(spec.name, spec.entries(settings, facts.mode));
        if let Some((pins, plan)) = pins.filter(|_| spec.is_pinned()) {
            loader.map_pin_path(spec.name, pins.map(plan.generation, spec));
        }
    }
    loader.load(settings.object)
}

/// Up to four ports in one number, as the programs have them.
fn packed(ports: &[u16]) -> u64 {
    let ports = ports.iter().take(4);
    ports
        .rev()
        .fold(0, |packed, port| packed << 16 | u64::from(*port))
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

/// Whether what failed was not permitted or not possible.
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

/// Bytes in a page.
fn page_size() -> u32 {
    // SAFETY: a call without pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let mut hash = Fnv::default();
        hash.add(b"foobar");
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }
}
