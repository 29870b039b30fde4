//! What the agent can do beyond its features, if it has the capabilities: each alone, and none of them needed.

use serde::Serialize;

use super::{Capabilities, Capability};

/// Something that takes more than the features do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Definition {
    name: &'static str,
    purpose: &'static str,
    capabilities: &'static [Capability],
}

/// All of them.
const ABILITIES: &[Definition] = &[
    Definition {
        name: "program_stats",
        purpose: "have the kernel measure its programs (`program_stats`)",
        capabilities: &[Capability::SysAdmin],
    },
    Definition {
        name: "other_network_namespaces",
        purpose: "ask for the sockets of each network namespace, and for translations in the host's",
        capabilities: &[Capability::SysAdmin, Capability::SysPtrace],
    },
    Definition {
        name: "other_processes",
        purpose: "look at processes of other users in /proc",
        capabilities: &[Capability::SysPtrace],
    },
    Definition {
        name: "all_files",
        purpose: "read cgroups and mounts that only their owner may read",
        capabilities: &[Capability::DacReadSearch],
    },
];

/// Whether this process can do one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// Its name.
    pub ability: &'static str,
    /// What it is good for.
    pub purpose: &'static str,
    /// `on`, `off`, or `unknown` where the capabilities cannot be read.
    pub state: &'static str,
    /// Capabilities it takes.
    pub capabilities: Vec<String>,
    /// Those of them that are missing; `None` if that cannot be said.
    pub missing_capabilities: Option<Vec<String>>,
}

impl Ability {
    /// All of them, for a process with these capabilities; `None` if they cannot be read.
    pub fn all(held: Option<Capabilities>) -> Vec<Self> {
        let of = |definition: &Definition| {
            let missing = held.map(|held| held.missing(definition.capabilities));
            Self {
                ability: definition.name,
                purpose: definition.purpose,
                state: match &missing {
                    None => "unknown",
                    Some(missing) if missing.is_empty() => "on",
                    Some(_) => "off",
                },
                capabilities: names(definition.capabilities),
                missing_capabilities: missing.as_deref().map(names),
            }
        };
        ABILITIES.iter().map(of).collect()
    }
}

/// Capabilities as users know them.
pub(crate) fn names(capabilities: &[Capability]) -> Vec<String> {
    capabilities.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_its_own_capabilities() {
        let states = |held| -> Vec<_> {
            let all = Ability::all(held);
            all.iter().map(|ability| ability.state).collect()
        };
        assert_eq!(states(None), ["unknown"; 4]);
        let held = |set: &[Capability]| Some(Capabilities::of(set));
        assert_eq!(states(held(&[])), ["off"; 4]);
        assert_eq!(
            states(held(&[Capability::SysAdmin])),
            ["on", "off", "off", "off"],
            "CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, not for others"
        );
        assert_eq!(
            states(held(&[Capability::SysAdmin, Capability::SysPtrace])),
            ["on", "on", "on", "off"]
        );
        let all = Ability::all(held(&[Capability::SysPtrace]));
        let missing = Some(vec!["CAP_SYS_ADMIN".to_owned()]);
        assert_eq!(all[1].missing_capabilities, missing);
    }
}
