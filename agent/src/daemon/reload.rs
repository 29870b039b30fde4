//! Taking up a changed configuration while the agent runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::own_log::OwnLog;
use super::pipeline::Reconfigured;
use crate::config::{Config, ConfigError, Loaded};
use crate::counters::{Counters, Reload};
use crate::file_stamp::FileStamp;
use crate::kernel::Clock;

/// How often the file is looked at. Kubernetes takes a minute to bring a changed ConfigMap to a pod.
const LOOK: Duration = Duration::from_secs(5);

/// Where the configuration came from, and who else has to know that it changed.
pub struct ConfigSource {
    /// The file, if there is one, and as it was before it was read.
    pub file: Option<ConfigFile>,
    /// Reads and checks all of it once more.
    pub load: Arc<dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync>,
    /// What the agent logs.
    pub log: Arc<OwnLog>,
}

/// The configuration's file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    stamp: Option<FileStamp>,
}

impl ConfigFile {
    /// As it is now, before it is read.
    pub fn before_it_is_read(path: PathBuf) -> Self {
        let stamp = FileStamp::of(&path);
        Self { path, stamp }
    }

    /// A pipe has nothing to say a second time.
    fn can_be_read_again(&self) -> bool {
        self.path.is_file()
    }
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Reads the configuration at every SIGHUP, and when its file is another one than before.
pub(super) struct Reloader {
    pub(super) source: ConfigSource,
    /// What is in effect.
    pub(super) config: Config,
    pub(super) hang_ups: Signal,
    pub(super) pipeline: mpsc::Sender<Reconfigured>,
    pub(super) counters: Arc<Counters>,
}

impl Reloader {
    /// Goes on until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = self.hang_ups.recv() => true,
                _ = look.tick() => false,
            };
            let file = self.source.file.clone();
            // Files may be slow.
            let looked = spawn_blocking(move || {
                let file = file?;
                Some((file.can_be_read_again(), FileStamp::of(&file.path)))
            });
            let (can_be_read, changed) = match looked.await.ok().flatten() {
                Some((can_be_read, stamp)) => (can_be_read, self.note(stamp)),
                None => (true, false),
            };
            match (asked || changed, can_be_read) {
                (true, true) => {
                    let outcome = self.reload().await;
                    self.count(outcome);
                }
                (true, false) => {
                    let file = self.source.file.as_ref();
                    let path = file.map(|file| file.path.display().to_string());
                    tracing::warn!(
                        path,
                        "the configuration's file cannot be read again; the agent goes on with what it has"
                    );
                    self.count(Reload::Unreadable);
                }
                _ => {}
            }
        }
    }

    /// Whether the file is another one than before.
    fn note(&mut self, stamp: Option<FileStamp>) -> bool {
        let Some(file) = &mut self.source.file else {
            return false;
        };
        std::mem::replace(&mut file.stamp, stamp) != stamp
    }

    fn count(&self, outcome: Reload) {
        self.counters.reloads().count(outcome, Clock::wall_ns());
    }

    /// A configuration with a mistake changes nothing.
    async fn reload(&mut self) -> Reload {
        let load = Arc::clone(&self.source.load);
        let loaded = match spawn_blocking(move || load()).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                tracing::error!(
                    "the changed configuration is refused, the agent goes on with the one it has\n{error}"
                );
                return Reload::Refused;
            }
            Err(error) => {
                tracing::error!(%error, "reading the configuration died");
                return Reload::Refused;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let changes = self.config.changes(&loaded.config);
        self.counters
            .reloads()
            .set_waiting(changes.at_restart.clone());
        if !changes.at_restart.is_empty() {
            let keys = changes.at_restart.join(", ");
            tracing::warn!(
                keys,
                "changed in the configuration, and not in effect before the agent is restarted"
            );
        }
        if changes.live.is_empty() {
            tracing::info!("the configuration was read again; nothing changes that can change now");
            return Reload::Unchanged;
        }
        self.config = self.config.with_live_of(&loaded.config);
        (self.source.log.set_level)(self.config.log.level);
        if self
            .pipeline
            .send(Reconfigured::by(&self.config))
            .await
            .is_ok()
        {
            tracing::info!(
                keys = changes.live.join(", "),
                "the changed configuration is in effect"
            );
        }
        Reload::Applied
    }
}
