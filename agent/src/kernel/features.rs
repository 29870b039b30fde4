//! What can be captured, and whether it is.

use serde::Serialize;

use super::Capability;

/// Something Wellhead can capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Which cgroup is which container. Without it everything belongs to the node.
    Identity,
    /// Processes forked, executed, exited, killed for memory.
    Process,
    /// TCP connections.
    Tcp,
    /// Processes older than the agent.
    #[serde(rename = "live_processes")]
    LiveProcesses,
    /// Open connections: those older than the agent, and what the others carry while they are open.
    #[serde(rename = "live_connections")]
    LiveConnections,
    /// What happens while no agent runs reaches the next one.
    Restart,
}

impl Feature {
    /// All of them, in the order they are attached.
    pub const ALL: [Self; 6] = [
        Self::Identity,
        Self::Process,
        Self::Tcp,
        Self::LiveProcesses,
        Self::LiveConnections,
        Self::Restart,
    ];

    /// The value of `wellhead.feature`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Process => "process",
            Self::Tcp => "tcp",
            Self::LiveProcesses => "live_processes",
            Self::LiveConnections => "live_connections",
            Self::Restart => "restart",
        }
    }

    /// The feature without which it makes no sense: mostly itself.
    pub(crate) const fn part_of(self) -> Self {
        match self {
            Self::LiveProcesses => Self::Process,
            Self::LiveConnections => Self::Tcp,
            other => other,
        }
    }

    /// Capabilities it needs (`CAP_SYS_ADMIN` stands for both).
    pub const fn capabilities(self) -> &'static [Capability] {
        &[Capability::Bpf, Capability::Perfmon]
    }
}

/// Whether a feature works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeatureStatus {
    /// Which one.
    pub feature: Feature,
    /// Whether the configuration asks for it.
    pub wanted: bool,
    /// How it is captured, such as `tp_btf`, or `none` while it is off.
    pub mechanism: &'static str,
    /// Whether it works.
    #[serde(flatten)]
    pub state: FeatureState,
    /// Each kernel program of it: attached, or why not.
    pub programs: Vec<ProgramStatus>,
}

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
            mechanism: "none",
            state: FeatureState::Off(reason.to_owned()),
            programs: Vec::new(),
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
}
