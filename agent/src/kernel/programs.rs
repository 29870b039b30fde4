//! The kernel programs: which feature each belongs to and how each is loaded and attached.

use std::{
    fs::File,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, CgroupSkb, Iter},
};
use libbpf_sys as sys;
use thiserror::Error;

use super::{
    Feature, bpf,
    features::{MECHANISM_BTF, MECHANISM_CGROUP_SKB, MECHANISM_ITER_TCP},
    pins::Pins,
};

/// One way to get a feature: all its programs together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rung {
    pub(crate) feature: Feature,
    /// The value of `wellhead.mechanism`.
    pub(crate) mechanism: &'static str,
    pub(crate) programs: &'static [Program],
}

/// A kernel program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// On this tracepoint.
    Tracepoint(&'static str),
    /// Over objects of this kind.
    Iterator(&'static str),
    /// Sees packets at the root of the cgroup tree, in this direction.
    CgroupSkb(sys::bpf_attach_type),
}

const fn tracepoint(name: &'static str) -> Program {
    tracepoint_on(name, name)
}

const fn tracepoint_on(tracepoint: &'static str, name: &'static str) -> Program {
    let kind = Kind::Tracepoint(tracepoint);
    Program { name, kind }
}

const fn iterator(name: &'static str, over: &'static str) -> Program {
    let kind = Kind::Iterator(over);
    Program { name, kind }
}

const fn cgroup_skb(name: &'static str, direction: sys::bpf_attach_type) -> Program {
    let kind = Kind::CgroupSkb(direction);
    Program { name, kind }
}

/// What runs where something goes wrong with a connection. The last can be done without.
const TROUBLE: [Program; 4] = [
    tracepoint("tcp_retransmit_skb"),
    tracepoint("tcp_retransmit_synack"),
    tracepoint("tcp_send_reset"),
    tracepoint("inet_sk_error_report"),
];

/// They run for each packet, so features share them.
const PASSING: &[Program] = &[
    cgroup_skb("packet_egress", sys::BPF_CGROUP_INET_EGRESS),
    cgroup_skb("packet_ingress", sys::BPF_CGROUP_INET_INGRESS),
];

/// Every program of the object, in the order they are attached: who before what, what happens before what is there. Of
/// several rungs of a feature the first that works is taken.
pub(crate) const LADDER: &[Rung] = &[
    Rung {
        feature: Feature::Identity,
        mechanism: MECHANISM_BTF,
        programs: &[
            tracepoint("cgroup_mkdir"),
            tracepoint("cgroup_rmdir"),
            tracepoint("cgroup_attach_task"),
        ],
    },
    Rung {
        feature: Feature::Process,
        mechanism: MECHANISM_BTF,
        programs: &[
            tracepoint("sched_process_fork"),
            tracepoint("sched_process_exec"),
            tracepoint("sched_process_exit"),
            tracepoint("sched_process_free"),
            tracepoint("signal_generate"),
            tracepoint("mark_victim"),
        ],
    },
    Rung {
        feature: Feature::Tcp,
        mechanism: MECHANISM_BTF,
        programs: &[
            tracepoint(SET_STATE),
            tracepoint_on(SET_STATE, NESTED_SET_STATE),
        ],
    },
    Rung {
        feature: Feature::TcpHealth,
        mechanism: MECHANISM_BTF,
        programs: &TROUBLE,
    },
    // Before 5.14.
    Rung {
        feature: Feature::TcpHealth,
        mechanism: MECHANISM_BTF,
        programs: TROUBLE.split_at(TROUBLE.len() - 1).0,
    },
    Rung {
        feature: Feature::Udp,
        mechanism: MECHANISM_CGROUP_SKB,
        programs: PASSING,
    },
    Rung {
        feature: Feature::Dns,
        mechanism: MECHANISM_CGROUP_SKB,
        programs: PASSING,
    },
    Rung {
        feature: Feature::Drops,
        mechanism: MECHANISM_BTF,
        programs: &[tracepoint("kfree_skb")],
    },
    Rung {
        feature: Feature::LiveProcesses,
        mechanism: "iter/task",
        programs: &[iterator(LIVE_TASKS, "task"), iterator(LIVE_USAGE, "task")],
    },
    Rung {
        feature: Feature::LiveConnections,
        mechanism: "iter/task_file",
        programs: &[
            iterator(LIVE_LISTENERS, "task_file"),
            iterator(LIVE_CONNECTIONS, "task_file"),
        ],
    },
    Rung {
        feature: Feature::LiveConnections,
        mechanism: MECHANISM_ITER_TCP,
        programs: &[iterator(LIVE_SOCKETS, "tcp")],
    },
];

/// The tracepoints that programs sit on.
pub(super) fn tracepoints() -> Vec<&'static str> {
    let mut tracepoints: Vec<_> = LADDER
        .iter()
        .flat_map(|rung| rung.programs)
        .filter_map(|program| match program.kind {
            Kind::Tracepoint(tracepoint) => Some(tracepoint),
            Kind::Iterator(_) | Kind::CgroupSkb(_) => None,
        })
        .collect();
    tracepoints.dedup();
    tracepoints
}

/// Tells of connections by the state changes of their sockets.
pub(super) const SET_STATE: &str = "inet_sock_set_state";
/// Stands in for the program of state changes where the kernel skips that; what is skipped of it is skipped of both.
pub(super) const NESTED_SET_STATE: &str = "nested_set_state";

/// Tells the processes there are.
pub(super) const LIVE_TASKS: &str = "live_tasks";
/// Hands out what their threads used.
pub(super) const LIVE_USAGE: &str = "live_usage";
/// Learns who listens.
pub(super) const LIVE_LISTENERS: &str = "live_listeners";
/// Tells the open connections, and who waits to be accepted.
pub(super) const LIVE_CONNECTIONS: &str = "live_connections";
/// All of these in one network namespace.
pub(super) const LIVE_SOCKETS: &str = "live_sockets";

/// A program could not be put to work.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    /// The object lacks it: the build is broken.
    #[error("the embedded object has no program of that name and kind")]
    Absent,
    /// A test does not want it.
    #[error("not loaded: WELLHEAD_TEST_REFUSED names it")]
    Refused,
    /// Its tracepoint cannot be used.
    #[error("{0}")]
    Tracepoint(String),
    /// The kernel did not accept it.
    #[error("cannot load")]
    Load(#[source] aya::programs::ProgramError),
    /// The kernel accepted it and did not attach it.
    #[error("cannot attach")]
    Attach(#[source] std::io::Error),
    /// Packets can only be seen of everybody from the root of the tree.
    #[error("the root of the cgroup v2 hierarchy is not mounted here")]
    NoCgroupRoot,
    /// Likewise, or tracefs did not say where.
    #[error("cannot attach")]
    Tracefs(#[source] aya::programs::ProgramError),
    /// It runs, but would not outlive the agent.
    #[error("cannot pin")]
    Pin(#[source] std::io::Error),
}

/// A program at work. Closing its link ends that, unless it is pinned.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: &'static str,
    program: OwnedFd,
    /// `None` if the object it is from holds it.
    link: Option<Arc<OwnedFd>>,
}

impl Running {
    /// A program whose link the object holds.
    pub(super) fn held_by_object(
        name: &'static str,
        program: BorrowedFd<'_>,
    ) -> Result<Self, ProgramError> {
        let program = program.try_clone_to_owned().map_err(ProgramError::Attach)?;
        Ok(Self {
            name,
            program,
            link: None,
        })
    }

    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    pub(crate) fn link(&self) -> Option<Arc<OwnedFd>> {
        self.link.clone()
    }
}

/// Where attached programs are kept, and as which generation.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub(crate) pins: &'a Pins,
    pub(crate) generation: u64,
}

impl Program {
    /// Loads and attaches it, or takes over one that is kept.
    pub(crate) fn start(
        self,
        object: &mut Ebpf,
        btf: &Btf,
        keeping: Option<Keeping<'_>>,
        cgroup_root: Option<&Path>,
    ) -> Result<Running, ProgramError> {
        let Self { name, kind } = self;
        if let Kind::Iterator(over) = kind {
            // Iterators are run by a daemon; without one there is nothing to keep.
            return attach_iterator(name, over, object, btf);
        }
        let kept = keeping.and_then(|place| place.pins.kept(place.generation, name));
        if let Some((program, link)) = kept {
            return running(name, program.as_fd(), link);
        }
        let running = match kind {
            Kind::Tracepoint(tracepoint) => attach_tracepoint(name, tracepoint, object, btf)?,
            Kind::CgroupSkb(direction) => attach_cgroup(name, direction, object, cgroup_root)?,
            Kind::Iterator(_) => return Err(ProgramError::Absent),
        };
        if let (Some(place), Some(link)) = (keeping, &running.link) {
            place
                .pins
                .keep(place.generation, name, &running.program, link)
                .map_err(ProgramError::Pin)?;
        }
        Ok(running)
    }
}

fn attach_cgroup(
    name: &'static str,
    direction: sys::bpf_attach_type,
    object: &mut Ebpf,
    root: Option<&Path>,
) -> Result<Running, ProgramError> {
    let root = root.ok_or(ProgramError::NoCgroupRoot)?;
    let root = File::open(root).map_err(ProgramError::Attach)?;
    let program: &mut CgroupSkb = find(object, name)?;
    match program.load() {
        // For another feature, for which it could not be attached either.
        Ok(()) | Err(aya::programs::ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(ProgramError::Load(error)),
    }
    let program = program.fd().map_err(ProgramError::Load)?.as_fd();
    let link =
        bpf::attach_cgroup(program, root.as_fd(), direction).map_err(ProgramError::Attach)?;
    running(name, program, link)
}

fn attach_tracepoint(
    name: &'static str,
    tracepoint: &str,
    object: &mut Ebpf,
    btf: &Btf,
) -> Result<Running, ProgramError> {
    let program: &mut BtfTracePoint = find(object, name)?;
    program.load(tracepoint, btf).map_err(ProgramError::Load)?;
    let program = program.fd().map_err(ProgramError::Load)?.as_fd();
    let link = bpf::attach_tracepoint(program).map_err(ProgramError::Attach)?;
    running(name, program, link)
}

fn attach_iterator(
    name: &'static str,
    over: &str,
    object: &mut Ebpf,
    btf: &Btf,
) -> Result<Running, ProgramError> {
    let program: &mut Iter = find(object, name)?;
    program.load(over, btf).map_err(ProgramError::Load)?;
    let program = program.fd().map_err(ProgramError::Load)?.as_fd();
    let link = bpf::attach_iterator(program).map_err(ProgramError::Attach)?;
    running(name, program, link)
}

fn find<'a, P>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    object
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(ProgramError::Absent)
}

fn running(
    name: &'static str,
    program: BorrowedFd<'_>,
    link: OwnedFd,
) -> Result<Running, ProgramError> {
    let program = program.try_clone_to_owned().map_err(ProgramError::Attach)?;
    Ok(Running {
        name,
        program,
        link: Some(Arc::new(link)),
    })
}
