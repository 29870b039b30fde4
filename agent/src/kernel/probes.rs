//! Loading the object and attaching its programs, feature by feature.

use std::{io, path::PathBuf, sync::Arc};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfError,
    maps::{Map, MapData, MapError, PerCpuArray},
};
use thiserror::Error;
use wellhead_common::{counts, maps::state};

use super::{
    AttachedPrograms, BtfError, Capabilities, Capability, Conntrack, Feature, FeatureState,
    FeatureStatus, Hooks, LiveIterators, Rings, WantConntrack, classic, conntrack,
    counts::{ControlMaps, sum},
    drop_reasons::DropReasons,
    features::{NOT_WANTED, ProgramStatus, WHOLE_IS_OFF},
    handover::{Switched, turn_switch},
    hooks::Step,
    load::{Facts, Loaded, aya_btf, load},
    lost_handshakes::LostHandshakes,
    pins::{PinError, Pins, Plan, stand_down_below},
    programs::{Keeping, LADDER, ProgramError, Rung, Running},
    spill::SpillMap,
    steering::Steering,
    tallies::Tallies,
};
use crate::{causes::chain, memory};

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
    /// Bytes of the ring for what packets carry.
    pub payload_ring: u32,
    /// Ports that DNS servers are asked at, four at most.
    pub dns_ports: Vec<u16>,
    /// Connections tracked at once.
    pub connections: u32,
    /// Listening ports tracked at once.
    pub listeners: u32,
    /// Capture only this cgroup (its id), not its children.
    pub only_cgroup: Option<u64>,
    /// What records that find their ring full are about, at once.
    pub spill: u32,
    /// Reasons for drops, and whose packets they were, counted at once.
    pub drops: u32,
    /// Peers with whom datagrams are exchanged, counted at once.
    pub udp_flows: u32,
    /// Where the root of the cgroup v2 hierarchy is mounted, if all of it is.
    pub cgroup_root: Option<PathBuf>,
    /// Whether to look up where translated connections go.
    pub conntrack: WantConntrack,
    /// Where to keep programs and maps for the next agent; `None` lets them go with this one.
    pub pin_directory: Option<PathBuf>,
    /// The object file of the kernel programs.
    pub object: &'static [u8],
    /// Only tests set any.
    pub hooks: Hooks,
}

impl ProbeSettings {
    /// Whether a feature is asked for.
    pub fn wants(&self, feature: Feature) -> bool {
        if feature == Feature::Conntrack && self.conntrack != WantConntrack::Yes {
            return false;
        }
        match feature.part_of() {
            Feature::Identity => true,
            Feature::Restart => self.pin_directory.is_some(),
            asked_for => self.features.contains(&asked_for),
        }
    }
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
    /// Another agent holds the directory of pins.
    #[error(transparent)]
    Held(PinError),
    /// What is pinned cannot be put in order.
    #[error("cannot put the pinned programs in order")]
    Pins(#[source] io::Error),
    /// The programs cannot be steered.
    #[error("cannot let the programs work")]
    Switch(#[source] MapError),
    /// Every single program failed.
    #[error("no program could be attached: {}", reasons(features))]
    Nothing {
        /// Why, feature by feature.
        features: Vec<FeatureStatus>,
    },
}

/// Attached programs. Dropping them detaches everything that is not pinned.
pub struct Probes {
    /// The rings the programs write.
    pub rings: Rings,
    /// The programs themselves.
    pub programs: AttachedPrograms,
    /// Where they count without telling of each.
    pub tallies: Option<Tallies>,
    /// Why handshakes got lost.
    pub lost_handshakes: Option<LostHandshakes>,
    /// What is there already.
    pub live: Arc<LiveIterators>,
    /// Where translated connections really go, if that can be told.
    pub conntrack: Option<Conntrack>,
    /// What works and what does not.
    pub features: Vec<FeatureStatus>,
    /// Why they work without BTF, if they do.
    pub without_btf: Option<String>,
    /// When these programs took over from others.
    pub switched: Option<Switched>,
    /// What happened between the last agent and this one is not known.
    pub gap: bool,
}

impl Probes {
    /// Loads and attaches whatever the kernel and the process's privileges allow, or takes over what an earlier agent
    /// left at work.
    ///
    /// # Errors
    /// Only if nothing at all can be attached, or another agent holds the directory of pins.
    pub fn attach(settings: &ProbeSettings) -> Result<Self, AttachError> {
        check_privilege()?;
        settings.hooks.warn();
        let gathered = Facts::gather(settings).and_then(|facts| Ok((facts, aya_btf(settings)?)));
        let (facts, btf) = match gathered {
            Ok(gathered) => gathered,
            Err(why) => return classic::attach(settings, why),
        };
        let fingerprint = facts.fingerprint(settings);
        let (pinning, restart) = open_pins(settings, fingerprint)?;
        settings.hooks.pass(Step::Planned);
        let probes = Self::attach_with(settings, &facts, btf, pinning, fingerprint);
        // Parsing the kernel's types takes tens of MiB that are not needed again.
        memory::release_freed();
        let mut probes = probes?;
        probes.features.push(restart);
        probes.open_conntrack(settings);
        Ok(probes)
    }

    /// The last feature: it needs no program.
    pub(super) fn open_conntrack(&mut self, settings: &ProbeSettings) {
        let (conntrack, status) = conntrack::open_if_wanted(settings, &self.features);
        self.conntrack = conntrack;
        self.features.push(status);
    }

    fn attach_with(
        settings: &ProbeSettings,
        facts: &Facts,
        btf: AyaBtf,
        pinning: Option<(Pins, Plan)>,
        fingerprint: u64,
    ) -> Result<Self, AttachError> {
        let places = pinning.as_ref().map(|(pins, plan)| (pins, plan));
        let Loaded { mut object, unmade } = load(settings, facts, Some(&btf), places)?;
        let keeping = places.map(|(pins, plan)| Keeping {
            pins,
            generation: plan.generation,
        });
        let absent = &facts.absent;
        let mut features = Vec::new();
        let mut running: Vec<Running> = Vec::new();
        for feature in Feature::ALL.into_iter().filter(|one| one.has_programs()) {
            let obstacle = obstacle(feature, settings, &unmade, &features);
            let (status, programs) = if let Some((wanted, reason)) = obstacle {
                (FeatureStatus::off(feature, wanted, reason), Vec::new())
            } else {
                let with = (&mut object, &btf, keeping);
                climb(feature, settings, with, &running, absent)
            };
            features.push(status);
            running.extend(programs);
        }
        drop(btf);
        if !features.iter().any(captures_something) {
            if let Some((pins, plan)) = &pinning {
                pins.remove_generation(plan.generation)
                    .map_err(AttachError::Pins)?;
            }
            return Err(AttachError::Nothing { features });
        }
        settings.hooks.pass(Step::Attached);
        let mut probes =
            Self::let_work(object, running, features, pinning, (settings, fingerprint))?;
        probes.know_reasons(&facts.drop_reasons);
        probes.programs.know_cookies(facts.has_cookies());
        Ok(probes)
    }

    fn know_reasons(&mut self, reasons: &DropReasons) {
        if let Some(tallies) = &mut self.tallies {
            tallies.know_reasons(reasons.clone());
        }
        if let Some(lost) = &mut self.lost_handshakes {
            lost.know_reasons(reasons.clone());
        }
    }

    /// Turns the switch and takes what the daemon reads.
    pub(super) fn let_work(
        mut object: Ebpf,
        running: Vec<Running>,
        features: Vec<FeatureStatus>,
        pinning: Option<(Pins, Plan)>,
        (settings, fingerprint): (&ProbeSettings, u64),
    ) -> Result<Self, AttachError> {
        let is_classic = features.iter().any(FeatureStatus::is_classic);
        let mut steering = Steering::new(take(&mut object, "STATE")?);
        let (pins, plan) = pinning.unzip();
        let plan = plan.unwrap_or(Plan::UNPINNED);
        plan.tell();
        let (generation, gap) = (plan.generation, plan.gap);
        let counts: PerCpuArray<_, u64> = take(&mut object, "COUNTS")?;
        if !plan.is_adopted {
            let so_far = sum(&counts, counts::TAKEN_OVER);
            steering
                .set(state::TAKEN_OVER_BEFORE, so_far)
                .map_err(AttachError::Switch)?;
        }
        let leftovers = turn_switch(&mut object, &mut steering, plan, fingerprint)
            .map_err(AttachError::Switch)?;
        settings.hooks.pass(Step::Switched);
        if let Some(pins) = &pins {
            pins.detach_others(generation).map_err(AttachError::Pins)?;
        }
        let pins = pins.map(|pins| (pins, generation));
        let live = Arc::new(LiveIterators::new(&running));
        let rings = Rings::take(leftovers.rings, |name| take(&mut object, name))?;
        let connections = if is_classic {
            "CLASSIC_CONNECTIONS"
        } else {
            "CONNECTIONS"
        };
        let maps = ControlMaps {
            counts,
            connections: take_raw(&mut object, connections)?,
            spill: SpillMap::new(take(&mut object, "SPILL")?).map_err(AttachError::Switch)?,
            steering,
        };
        let counted = ["DROPS", "DROPS_REST", "UDP_FLOWS", "UDP_REST"];
        let [drops, drops_rest, udp, udp_rest] = counted.map(|name| take_raw(&mut object, name));
        let counted = ([drops?, drops_rest?], [udp?, udp_rest?]);
        let is_counted = features.iter().any(|status| {
            matches!(status.feature, Feature::Udp | Feature::Drops) && status.is_on()
        });
        let tallies = if is_counted || !leftovers.tallies.is_empty() {
            Tallies::new(counted, leftovers.tallies)
        } else {
            None
        };
        let drops = features
            .iter()
            .find(|status| status.feature == Feature::Drops && status.is_on());
        let lost_handshakes = match drops {
            Some(_) => LostHandshakes::new(take_raw(&mut object, "LOST_HANDSHAKES")?),
            None => None,
        };
        let programs = AttachedPrograms::new(object, running, maps, pins, leftovers.spills);
        Ok(Self {
            rings,
            programs,
            tallies,
            lost_handshakes,
            live,
            conntrack: None,
            features,
            without_btf: None,
            switched: leftovers.switched,
            gap,
        })
    }
}

/// Takes the directory of pins, if there is to be one, and says what comes of it. Without, everything works but the
/// next agent.
fn open_pins(
    settings: &ProbeSettings,
    fingerprint: u64,
) -> Result<(Option<(Pins, Plan)>, FeatureStatus), AttachError> {
    let off = |wanted, reason: &str| FeatureStatus::off(Feature::Restart, wanted, reason);
    let Some(directory) = &settings.pin_directory else {
        return Ok((None, off(false, NOT_WANTED)));
    };
    let pins = match Pins::open(directory) {
        Ok(pins) => pins,
        Err(error @ PinError::Held { .. }) => return Err(AttachError::Held(error)),
        Err(error) => {
            stand_down_below(directory, settings);
            return Ok((None, off(true, &chain(&error))));
        }
    };
    match pins.plan(settings, fingerprint) {
        Ok(plan) => {
            let status = FeatureStatus::on(Feature::Restart, "bpffs");
            Ok((Some((pins, plan)), status))
        }
        Err(source) => {
            // This agent captures without them, and nothing is to be counted by two.
            pins.stand_down(settings).map_err(AttachError::Pins)?;
            let path = directory.clone();
            let error = PinError::Unusable { path, source };
            Ok((None, off(true, &chain(&error))))
        }
    }
}

/// Why a feature is not even tried, and whether it is wanted.
pub(super) fn obstacle<'a>(
    feature: Feature,
    settings: &ProbeSettings,
    unmade: &'a [(Feature, String)],
    before: &[FeatureStatus],
) -> Option<(bool, &'a str)> {
    let part_of = feature.part_of();
    if !settings.wants(feature) {
        return Some((false, NOT_WANTED));
    }
    if let Some((_, reason)) = unmade.iter().find(|(of, _)| *of == feature) {
        return Some((true, reason));
    }
    let whole = before.iter().find(|status| status.feature == part_of);
    let is_off = whole.is_some_and(|status| !status.is_on());
    is_off.then_some((true, WHOLE_IS_OFF))
}

/// Whether any program that somebody asked for works.
pub(super) fn captures_something(status: &FeatureStatus) -> bool {
    let asked_for = matches!(
        status.feature,
        Feature::Process | Feature::Tcp | Feature::Udp | Feature::Dns | Feature::Drops
    );
    asked_for
        && status
            .programs
            .iter()
            .any(|program| program.problem.is_none())
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

/// Starts a feature's programs by the first way that works, but those that another feature started. A program that fails switches
/// its feature off and nothing else.
fn climb(
    feature: Feature,
    settings: &ProbeSettings,
    (object, btf, keeping): (&mut Ebpf, &AyaBtf, Option<Keeping<'_>>),
    started: &[Running],
    absent: &[String],
) -> (FeatureStatus, Vec<Running>) {
    let mut best = None;
    let mut running: Vec<Running> = Vec::new();
    let keep = |rung: &Rung, mut running: Vec<Running>| {
        running.retain(|one| rung.programs.iter().any(|program| program.name == one.name));
        running
    };
    for rung in LADDER.iter().filter(|rung| rung.feature == feature) {
        let left_out = &settings.hooks.left_out;
        let programs = rung.programs.iter();
        let programs = programs.filter(|program| !left_out.contains(&program.name));
        let programs = programs.map(|program| {
            let is_started = |one: &Running| one.name == program.name;
            let result = if settings.hooks.refuse(program.name) {
                Err(ProgramError::Refused)
            } else if started.iter().chain(&running).any(is_started) {
                Ok(())
            } else {
                let root = settings.cgroup_root.as_deref();
                let result = program.start(object, btf, keeping, root);
                result.map(|started| running.push(started))
            };
            ProgramStatus::new(program.name, result, absent)
        });
        let status = FeatureStatus::of_programs(feature, rung.mechanism, programs.collect());
        if status.is_on() {
            return (status, keep(rung, running));
        }
        // Where none works, as much as possible of the first does.
        best.get_or_insert((status, rung));
    }
    let Some((status, rung)) = best else {
        let status = FeatureStatus::off(feature, true, "there is no program for it");
        return (status, running);
    };
    (status, keep(rung, running))
}

fn take_raw(object: &mut Ebpf, name: &'static str) -> Result<MapData, AttachError> {
    match object.take_map(name) {
        Some(Map::HashMap(map) | Map::LruHashMap(map)) => Ok(map),
        _ => Err(AttachError::Map { name }),
    }
}

fn take<M: TryFrom<Map>>(object: &mut Ebpf, name: &'static str) -> Result<M, AttachError> {
    object
        .take_map(name)
        .and_then(|map| M::try_from(map).ok())
        .ok_or(AttachError::Map { name })
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
