//! The kernel programs: which feature each belongs to and how each is loaded and attached.

use aya::{Btf, Ebpf, programs::BtfTracePoint};
use thiserror::Error;

use super::Feature;

/// A kernel program; its name is also its tracepoint's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) feature: Feature,
}

/// Every program of the object, in the order they are attached: who before what.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "cgroup_mkdir",
        feature: Feature::Identity,
    },
    Program {
        name: "cgroup_rmdir",
        feature: Feature::Identity,
    },
    Program {
        name: "cgroup_attach_task",
        feature: Feature::Identity,
    },
    Program {
        name: "sched_process_fork",
        feature: Feature::Process,
    },
    Program {
        name: "sched_process_exec",
        feature: Feature::Process,
    },
    Program {
        name: "sched_process_exit",
        feature: Feature::Process,
    },
    Program {
        name: "mark_victim",
        feature: Feature::Process,
    },
    Program {
        name: "inet_sock_set_state",
        feature: Feature::Tcp,
    },
];

/// A program could not be put to work.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    /// The object lacks it: the build is broken.
    #[error("the embedded object has no BTF tracepoint program of that name")]
    Absent,
    /// Its tracepoint cannot be used.
    #[error("{0}")]
    Tracepoint(String),
    /// The kernel did not accept it.
    #[error("cannot load")]
    Load(#[source] aya::programs::ProgramError),
    /// The kernel accepted it and did not attach it.
    #[error("cannot attach")]
    Attach(#[source] aya::programs::ProgramError),
}

impl Program {
    /// Loads and attaches it; the object keeps the link.
    pub(crate) fn start(self, object: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
        let program: &mut BtfTracePoint = object
            .program_mut(self.name)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProgramError::Absent)?;
        program.load(self.name, btf).map_err(ProgramError::Load)?;
        program.attach().map_err(ProgramError::Attach)?;
        Ok(())
    }
}
