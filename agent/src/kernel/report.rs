//! Features as everybody is told of them: `doctor`, the status, the log. (Metrics show the same statuses.)

use serde::Serialize;

use super::{Capabilities, FeatureState, FeatureStatus, abilities::names, features::ProgramStatus};

/// One feature, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeatureReport {
    /// Which one.
    pub feature: &'static str,
    /// Whether the configuration asks for it.
    pub wanted: bool,
    /// `on`, `off` or `unknown`.
    pub state: &'static str,
    /// How it is captured; `none` while it is not.
    pub mechanism: &'static str,
    /// Why it is not on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is missing although it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_details: Option<&'static str>,
    /// Capabilities it needs.
    pub capabilities: Vec<String>,
    /// Those of them this process lacks; `None` if that cannot be said.
    pub missing_capabilities: Option<Vec<String>>,
    /// Each kernel program of it.
    pub programs: Vec<ProgramStatus>,
}

impl FeatureReport {
    /// What there is to say of a feature, in a process with these capabilities; `None` if they cannot be read.
    pub fn new(status: &FeatureStatus, held: Option<Capabilities>) -> Self {
        let needed = status.feature.capabilities();
        let missing = held.map(|held| held.missing(needed));
        Self {
            feature: status.feature.as_str(),
            wanted: status.wanted,
            state: status.state.as_str(),
            mechanism: status.mechanism,
            reason: match &status.state {
                FeatureState::On => None,
                FeatureState::Off(reason) | FeatureState::Unknown(reason) => Some(reason.clone()),
            },
            missing_details: status.missing_details(held),
            capabilities: names(needed),
            missing_capabilities: missing.as_deref().map(names),
            programs: status.programs.clone(),
        }
    }

    /// All features, in a process with the capabilities of this one.
    pub fn all(statuses: &[FeatureStatus]) -> Vec<Self> {
        let held = Capabilities::current().ok();
        let of = |status| Self::new(status, held);
        statuses.iter().map(of).collect()
    }

    /// Why it is not on, or what is missing although it is.
    pub fn why(&self) -> &str {
        let reason = self.reason.as_deref();
        reason.or(self.missing_details).unwrap_or_default()
    }

    /// Tells the log, as a warning if something that is wanted is missing.
    pub fn log(&self) {
        let Self {
            feature,
            state,
            mechanism,
            wanted,
            ..
        } = self;
        let reason = self.why();
        match (*wanted, reason.is_empty()) {
            (_, true) => tracing::info!(feature, state, mechanism, "feature is {state}"),
            (false, _) => tracing::info!(feature, state, mechanism, reason, "feature is {state}"),
            (true, _) => tracing::warn!(feature, state, mechanism, reason, "feature is {state}"),
        }
    }
}
