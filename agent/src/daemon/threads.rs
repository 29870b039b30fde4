//! The pipeline's own threads.
//!
//! All else that the daemon does is on the runtime it was started on: sending to receivers, serving clients, watching the cluster. There a
//! receiver's name can take its time to be looked up, a page to be written, a request to be packed; the rings are drained meanwhile.

use std::io;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

/// What the pipeline has done in the background, each at most once at a time: a scan of cgroups, a snapshot, the kernel's count, a look
/// at the host's addresses, and waiting for programs to return. None of them waits for another.
const BACKGROUND: usize = 5;

/// A runtime for the pipeline alone. Ends without waiting when dropped, whatever still runs, and wherever that is: tokio's would panic in a
/// task.
#[derive(Debug)]
pub(super) struct PipelineThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl PipelineThreads {
    /// Starts one thread for the pipeline's task; those for the background start when they are needed.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BACKGROUND)
            .thread_name("wellhead-rings")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Does something on the thread of the pipeline's task.
    pub(super) fn spawn(&self, act: impl FnOnce() + Send + 'static) {
        self.handle.spawn(async move { act() });
    }

    /// While this lives, what needs a runtime to be made or spawned gets this one.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}

impl Drop for PipelineThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::spawn_blocking;
    use tokio::time::interval;

    use super::*;

    const EXPORT_BACKGROUND: usize = 8;

    /// The kinds of things the pipeline waits for: timers, answers to others, work in the background.
    async fn work() -> usize {
        let mut drain = interval(Duration::from_millis(1));
        let mut done = 0;
        for _ in 0..20 {
            drain.tick().await;
            let (reply, answer) = oneshot::channel();
            let background = (0..BACKGROUND).map(|_| spawn_blocking(|| 1));
            for count in background.collect::<Vec<_>>() {
                done += count.await.unwrap();
            }
            reply.send(done).unwrap();
            answer.await.unwrap();
        }
        done
    }

    /// Every thread of the runtime around it is stuck: its worker in a task that does not return, as if it packed a request without an
    /// end, and all its blocking threads in calls that do not return, as look-ups do where the name server is silent. What is done on
    /// the pipeline's threads is finished; what is asked of the others has not begun by then.
    #[test]
    fn the_pipeline_goes_on_while_everything_else_is_stuck() {
        let exports = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(EXPORT_BACKGROUND)
            .enable_all()
            .build()
            .unwrap();
        let gate = Arc::new(Mutex::new(()));
        let shut = gate.lock().unwrap();
        let (stuck, begun) = mpsc::sync_channel(1 + EXPORT_BACKGROUND);
        let get_stuck = || {
            let (gate, stuck) = (Arc::clone(&gate), stuck.clone());
            move || {
                stuck.send(()).unwrap();
                drop(gate.lock());
            }
        };
        let task = get_stuck();
        exports.spawn(async move { task() });
        for _ in 0..EXPORT_BACKGROUND {
            exports.spawn_blocking(get_stuck());
        }
        for _ in 0..=EXPORT_BACKGROUND {
            begun.recv().unwrap();
        }
        let waiting = exports.spawn(async {});
        let waiting_too = exports.spawn_blocking(|| ());

        let done = exports.block_on(async {
            let threads = PipelineThreads::start().unwrap();
            let context = threads.enter();
            let pipeline = tokio::spawn(work());
            drop(context);
            // Ends with the block, in a task.
            let done = pipeline.await;
            drop(threads);
            done
        });
        assert_eq!(done.unwrap(), 20 * BACKGROUND);
        assert!(!waiting.is_finished() && !waiting_too.is_finished());
        drop(shut);
        exports.shutdown_background();
    }
}
