//! Tasks none of which dies in silence.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// A task panicked. What it said stands on standard error.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a task died: {0}")]
pub struct Died(pub &'static str);

/// Tasks of a process that is of no use without any of them, and would not be missed where nobody looks: the first that
/// panics is told to whoever waits for it, who ends the process, for it to be started anew.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    first: watch::Sender<Option<Died>>,
}

impl Tasks {
    /// Starts a task on the runtime this is called in. Its handle gives `None` if the task died.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let first = self.first.clone();
        self.tracker.spawn(async move {
            // Nobody looks at what the task may have left half done: the process ends.
            let result = AssertUnwindSafe(task).catch_unwind().await;
            if result.is_err() {
                tracing::error!(task = name, "a task died");
                first.send_if_modified(|died| {
                    let is_first = died.is_none();
                    died.get_or_insert(Died(name));
                    is_first
                });
            }
            result.ok()
        })
    }

    /// Waits for a task to die, for ever if none does.
    pub async fn death(&self) -> Died {
        let mut first = self.first.subscribe();
        let died = first.wait_for(Option::is_some).await;
        let died = died.ok().and_then(|died| *died);
        match died {
            Some(died) => died,
            // This holds the sender, so it is never closed.
            None => std::future::pending().await,
        }
    }

    /// Waits for all tasks to end, but only so long.
    pub async fn ended(&self, patience: Duration) {
        self.tracker.close();
        drop(tokio::time::timeout(patience, self.tracker.wait()).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_that_dies_is_told() {
        let tasks = Tasks::default();
        let ended = tasks.spawn("ended", async { 1 });
        assert_eq!(ended.await.unwrap(), Some(1));
        assert!(tasks.death().now_or_never().is_none());

        let dead = tasks.spawn("dead", async { panic!("on purpose") });
        assert_eq!(dead.await.unwrap(), None::<()>);
        drop(tasks.spawn("next", async { panic!("too") }).await);
        assert_eq!(tasks.death().await, Died("dead"));
        assert_eq!(tasks.death().await.to_string(), "a task died: dead");
    }

    #[tokio::test]
    async fn waits_for_all_and_not_for_ever() {
        let tasks = Tasks::default();
        let (end, ending) = tokio::sync::oneshot::channel::<()>();
        let task = tasks.spawn("waiting", ending);
        tasks.ended(Duration::from_millis(1)).await;
        assert!(!task.is_finished());
        end.send(()).unwrap();
        tasks.ended(Duration::from_mins(1)).await;
        assert!(task.is_finished());
    }
}
