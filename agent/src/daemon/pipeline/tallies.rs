//! Taking what the programs count without telling of each, beside everything else.

use tokio::task::{JoinHandle, spawn_blocking};

use crate::kernel::{AttachedPrograms, Tallied, Tallies, wait_for_programs};

/// Takes it, once at a time.
#[derive(Debug)]
pub(super) struct TallyTaker {
    /// `None` while they are taken, and where there are none.
    tallies: Option<Tallies>,
    running: Option<JoinHandle<(Tallies, Tallied)>>,
}

impl TallyTaker {
    pub(super) fn new(tallies: Option<Tallies>) -> Self {
        Self {
            tallies,
            running: None,
        }
    }

    /// Begins, if it has not already.
    pub(super) fn start(&mut self, programs: &mut AttachedPrograms) {
        let Some(mut tallies) = self.tallies.take() else {
            return;
        };
        let epoch = programs.turn_tallies();
        self.running = Some(spawn_blocking(move || {
            wait_for_programs();
            let taken = tallies.take(epoch);
            (tallies, taken)
        }));
    }

    /// Waits for what is being taken; forever, if nothing is.
    pub(super) async fn done(&mut self) -> Tallied {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let result = running.await;
        self.running = None;
        match result {
            Ok((tallies, taken)) => {
                self.tallies = Some(tallies);
                taken
            }
            Err(error) => {
                tracing::error!(%error, "drops and datagrams are not counted any more");
                Tallied::default()
            }
        }
    }

    /// Takes all there is: what is being taken, and what came since.
    pub(super) async fn take_all(&mut self, programs: &mut AttachedPrograms) -> Vec<Tallied> {
        let mut all = Vec::new();
        if self.running.is_some() {
            all.push(self.done().await);
        }
        self.start(programs);
        if self.running.is_some() {
            all.push(self.done().await);
        }
        all
    }
}
