//! What can be captured, and whether it is.

use std::{error::Error as StdError, io};

use serde::Serialize;

use super::{Capabilities, Capability, load::describe};
use crate::causes::causes;

/// Something Wellhead can capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Which cgroup is which container. Without it everything belongs to the node.
    Identity,
    /// Processes forked, executed, exited, killed for memory.
    Process,
    /// TCP connections.
    Tcp,
    /// Why segments are sent again, and which connections this node resets.
    TcpHealth,
    /// Datagrams of UDP.
    Udp,
    /// Look-ups of names.
    Dns,
    /// Packets the kernel drops.
    Drops,
    /// Processes older than the agent.
    LiveProcesses,
    /// Open connections: those older than the agent, and what the others carry while they are open.
    LiveConnections,
    /// What happens while no agent runs reaches the next one.
    Restart,
    /// Where connections to translated addresses, such as those of Services, really go.
    Conntrack,
}

impl Feature {
    /// All of them, in the order they are attached.
    pub const ALL: [Self; 11] = [
        Self::Identity,
        Self::Process,
        Self::Tcp,
        Self::TcpHealth,
        Self::Udp,
        Self::Dns,
        Self::Drops,
        Self::LiveProcesses,
        Self::LiveConnections,
        Self::Restart,
        Self::Conntrack,
    ];

    /// The value of `wellhead.feature`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Process => "process",
            Self::Tcp => "tcp",
            Self::TcpHealth => "tcp_health",
            Self::Udp => "udp",
            Self::Dns => "dns",
            Self::Drops => "drops",
            Self::LiveProcesses => "live_processes",
            Self::LiveConnections => "live_connections",
            Self::Restart => "restart",
            Self::Conntrack => "conntrack",
        }
    }

    /// The feature without which it makes no sense: mostly itself.
    pub(crate) const fn part_of(self) -> Self {
        match self {
            Self::LiveProcesses => Self::Process,
            Self::TcpHealth | Self::LiveConnections | Self::Conntrack => Self::Tcp,
            other => other,
        }
    }

    /// Whether kernel programs of its own capture it.
    pub(crate) const fn has_programs(self) -> bool {
        !matches!(self, Self::Restart | Self::Conntrack)
    }

    /// Capabilities it needs (`CAP_SYS_ADMIN` stands for the first two).
    pub const fn capabilities(self) -> &'static [Capability] {
        match self {
            Self::Conntrack => &[Capability::NetAdmin],
            Self::Udp | Self::Dns => &[Capability::Bpf, Capability::Perfmon, Capability::NetAdmin],
            _ => &[Capability::Bpf, Capability::Perfmon],
        }
    }
}

/// Whether a feature works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureState {
    /// Everything it needs is attached.
    On,
    /// Not wanted, or something it needs could not be loaded or attached: why.
    Off(String),
    /// Not tried, or the answer is not conclusive: why.
    Unknown(String),
}

impl FeatureState {
    /// The value of `wellhead.state`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off(_) => "off",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A feature as `doctor`, the status and the metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureStatus {
    /// Which one.
    pub feature: Feature,
    /// Whether the configuration asks for it.
    pub wanted: bool,
    /// How it is captured, such as `tp_btf`, or `none` while it is off.
    pub mechanism: &'static str,
    /// Whether it works.
    pub state: FeatureState,
    /// Each kernel program of it: attached, or why not.
    pub programs: Vec<ProgramStatus>,
}

/// Why a feature is off that nobody asked for.
pub(crate) const NOT_WANTED: &str = "switched off in the configuration";

/// Why a feature is off whose whole is.
pub(crate) const WHOLE_IS_OFF: &str = "what it is part of is off";

/// [`FeatureStatus::mechanism`] of BTF tracepoints.
pub(crate) const MECHANISM_BTF: &str = "tp_btf";
/// [`FeatureStatus::mechanism`] of programs at the root of the cgroup tree.
pub(crate) const MECHANISM_CGROUP_SKB: &str = "cgroup_skb";
/// [`FeatureStatus::mechanism`] of classic tracepoints.
pub(crate) const MECHANISM_CLASSIC: &str = "tracepoint";
/// [`FeatureStatus::mechanism`] of open connections where the kernel does not tell the socket of a file.
pub(crate) const MECHANISM_ITER_TCP: &str = "iter/tcp";
/// [`FeatureStatus::mechanism`] of translations.
pub(crate) const MECHANISM_CTNETLINK: &str = "ctnetlink";
/// [`FeatureStatus::mechanism`] of what is not attached.
pub(crate) const MECHANISM_NONE: &str = "none";

impl FeatureStatus {
    /// One that works, without programs of its own.
    pub(crate) fn on(feature: Feature, mechanism: &'static str) -> Self {
        Self {
            feature,
            wanted: true,
            mechanism,
            state: FeatureState::On,
            programs: Vec::new(),
        }
    }

    /// One that is off as a whole.
    pub(crate) fn off(feature: Feature, wanted: bool, reason: &str) -> Self {
        Self {
            feature,
            wanted,
            mechanism: MECHANISM_NONE,
            state: FeatureState::Off(reason.to_owned()),
            programs: Vec::new(),
        }
    }

    /// Whether it is captured in the way of kernels without BTF.
    pub fn is_classic(&self) -> bool {
        self.mechanism == MECHANISM_CLASSIC
    }

    /// Whether all of it works.
    pub(crate) fn is_on(&self) -> bool {
        self.state == FeatureState::On
    }

    /// A feature that is wanted, and what became of its programs: if one is missing, it is off.
    pub(crate) fn of_programs(
        feature: Feature,
        mechanism: &'static str,
        programs: Vec<ProgramStatus>,
    ) -> Self {
        let problems: Vec<String> = programs
            .iter()
            .filter_map(|status| Some((status.program, status.problem.as_ref()?)))
            .map(|(program, problem)| format!("{program}: {problem}"))
            .collect();
        let (mechanism, state) = if problems.is_empty() {
            (mechanism, FeatureState::On)
        } else if programs.iter().any(|program| program.inconclusive) {
            (MECHANISM_NONE, FeatureState::Unknown(problems.join("; ")))
        } else {
            (MECHANISM_NONE, FeatureState::Off(problems.join("; ")))
        };
        Self {
            feature,
            wanted: true,
            mechanism,
            state,
            programs,
        }
    }

    /// What is missing although the feature is on, for a process with these capabilities.
    pub fn missing_details(&self, held: Option<Capabilities>) -> Option<&'static str> {
        let enters_namespaces = held.is_none_or(|held| held.has(Capability::SysAdmin));
        match (self.mechanism, self.feature) {
            (MECHANISM_CLASSIC, Feature::Process) => Some(
                "no BTF: without exit codes and signals, durations, arguments, parents and spans",
            ),
            (MECHANISM_CLASSIC, Feature::Tcp) => Some(
                "no BTF: without bytes, segments, retransmits, round-trip times, errors, and owners of accepted connections",
            ),
            (MECHANISM_ITER_TCP, _) if enters_namespaces => {
                Some("before Linux 5.11: without the processes of connections older than the agent")
            }
            (MECHANISM_ITER_TCP, _) => Some(
                "before Linux 5.11: without the processes of connections older than the agent, and in the agent's own network \
                 namespace only: entering others needs CAP_SYS_ADMIN",
            ),
            _ => None,
        }
    }
}

/// One kernel program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramStatus {
    /// Its name, as in `bpftool prog`.
    pub program: &'static str,
    /// `None` if it is attached, else why not.
    pub problem: Option<String>,
    /// The kernel did not permit it, so that nobody knows whether it could.
    #[serde(skip)]
    pub inconclusive: bool,
}

impl ProgramStatus {
    /// What became of an attempt to attach a program; `absent` names fields the kernel does not have.
    pub(crate) fn new<E: StdError + 'static>(
        program: &'static str,
        result: Result<(), E>,
        absent: &[String],
    ) -> Self {
        let error = result.err();
        Self {
            program,
            problem: error.as_ref().map(|error| describe(error, absent)),
            inconclusive: error.is_some_and(|error| is_forbidden(&error)),
        }
    }
}

/// Whether somebody else than the verifier refused: that says "permission denied" (`EACCES`) as well, of programs it does
/// not accept.
fn is_forbidden(error: &(dyn StdError + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.raw_os_error() == Some(libc::EPERM))
}
