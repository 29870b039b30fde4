//! Who is served at the moment, and who gives way when there is no more room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{AbortHandle, JoinSet};

/// Whether a connection has brought a request, of which its head is enough. Until then it may be ended for another's sake.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

impl Asked {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The tasks of connections, at most so many.
#[derive(Debug)]
pub(super) struct Guests {
    limit: usize,
    tasks: JoinSet<()>,
    /// Those that had not asked when last looked at, oldest first.
    silent: VecDeque<(Asked, AbortHandle)>,
}

impl Guests {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            tasks: JoinSet::new(),
            silent: VecDeque::new(),
        }
    }

    pub(super) fn receive(
        &mut self,
        asked: Asked,
        visit: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(visit);
        self.silent.push_back((asked, task));
    }

    /// Waits for room for one more. The oldest that has asked for nothing gives way; what is asked for is answered first. May be
    /// dropped while it waits.
    pub(super) async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.silent
            .retain(|(asked, task)| !asked.has() && !task.is_finished());
        while self.tasks.len() >= self.limit {
            if let Some((_, oldest)) = self.silent.pop_front() {
                tracing::debug!("a connection without a request gave way to another");
                oldest.abort();
            }
            self.tasks.join_next().await;
        }
    }

    /// Waits for all to leave.
    pub(super) async fn left(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
