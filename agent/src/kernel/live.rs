//! Running the iterator programs: what is there already.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use super::{
    bpf,
    programs::{LIVE_CONNECTIONS, LIVE_LISTENERS, LIVE_SOCKETS, LIVE_TASKS, Running},
};

/// The iterators that work here. What they find comes through the rings.
#[derive(Debug, Default)]
pub struct LiveIterators {
    tasks: Option<Arc<OwnedFd>>,
    listeners: Option<Arc<OwnedFd>>,
    connections: Option<Arc<OwnedFd>>,
    /// Both of the former in one network namespace, where they are not to be had.
    sockets: Option<Arc<OwnedFd>>,
}

impl LiveIterators {
    pub(super) fn new(programs: &[Running]) -> Self {
        let link = |name: &str| {
            let running = programs.iter().find(|running| running.name == name)?;
            running.link()
        };
        Self {
            tasks: link(LIVE_TASKS),
            listeners: link(LIVE_LISTENERS),
            connections: link(LIVE_CONNECTIONS),
            sockets: link(LIVE_SOCKETS),
        }
    }

    /// Tells every process there is. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The kernel broke it off.
    pub fn tell_processes(&self) -> io::Result<()> {
        run(self.tasks.as_ref())
    }

    /// Learns who listens, once: from then on the programs see it themselves. Blocks.
    ///
    /// # Errors
    /// The kernel broke it off.
    pub fn learn_listeners(&self) -> io::Result<()> {
        run(self.listeners.as_ref())
    }

    /// Tells every open connection. Blocks.
    ///
    /// # Errors
    /// The kernel broke it off.
    pub fn tell_connections(&self) -> io::Result<()> {
        run(self.connections.as_ref())?;
        run(self.sockets.as_ref())
    }
}

fn run(link: Option<&Arc<OwnedFd>>) -> io::Result<()> {
    link.map_or(Ok(()), |link| bpf::run_iterator(link.as_fd()))
}
