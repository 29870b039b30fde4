//! Telling the agent's own traffic from everybody else's.

use std::os::unix::fs::MetadataExt as _;

use crate::events::{Body, Event};

/// The agent's process as the kernel's records name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnProcess {
    /// `None` in a pid namespace of its own, where the kernel's number for it cannot be known.
    pid: Option<u32>,
}

impl OwnProcess {
    /// The calling process.
    pub(super) fn new() -> Self {
        // `PROC_PID_INIT_INO` (include/linux/proc_ns.h).
        const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFC;
        let namespace = std::fs::metadata("/proc/self/ns/pid");
        let is_initial = namespace.is_ok_and(|namespace| namespace.ino() == INITIAL_NAMESPACE);
        Self {
            pid: is_initial.then(std::process::id),
        }
    }

    /// Another one, which a recording was made by.
    pub(super) const fn recorded(pid: Option<u32>) -> Self {
        Self { pid }
    }

    /// Its number.
    pub(super) const fn pid(self) -> Option<u32> {
        self.pid
    }

    /// Whether an event is about the agent itself: that counts, but makes neither spans nor events.
    pub(super) fn caused(self, event: &Event<'_>) -> bool {
        let connection = match &event.body {
            Body::TcpOpen(connection) => connection,
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => &end.connection,
            _ => return false,
        };
        self.pid.is_some() && connection.owner.map(|owner| owner.pid) == self.pid
    }
}
