//! What Kubernetes says of the runs of a container: a part of its pod's status.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use jiff::Timestamp;

use super::pod_info::ContainerInfo;

/// `state.waiting.reason` of a container that is not started again at once because it ends over and over.
const CRASH_LOOP: &str = "CrashLoopBackOff";

/// `lastState.terminated.reason` of a container that a kill for memory hit.
const KILLED_FOR_MEMORY: &str = "OOMKilled";

/// One of `status.containerStatuses` and its like, reduced to how the container's runs go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// `restartCount`: runs before the one with the present id.
    pub restart_count: Option<u32>,
    /// `state.waiting.reason`.
    pub waiting: Option<Arc<str>>,
    /// `state.running.startedAt`.
    pub running_since: Option<Timestamp>,
    /// `lastState.terminated`: few have one.
    pub last_end: Option<Box<Terminated>>,
}

/// A run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terminated {
    /// `exitCode`: of a run that a signal ended, usually 128 and the signal's number.
    pub exit_code: i32,
    /// `signal`, which few runtimes tell.
    pub signal: Option<i32>,
    /// `reason`.
    pub reason: Option<Arc<str>>,
    /// `startedAt`.
    pub started_at: Option<Timestamp>,
    /// `finishedAt`.
    pub finished_at: Option<Timestamp>,
}

impl ContainerStatus {
    /// Whether kubelet waits before it starts the container again, since it ends over and over.
    pub fn is_crash_loop(&self) -> bool {
        self.waiting.as_deref() == Some(CRASH_LOOP)
    }
}

impl Terminated {
    /// Whether a kill for memory hit it.
    pub fn was_killed_for_memory(&self) -> bool {
        self.reason.as_deref() == Some(KILLED_FOR_MEMORY)
    }
}

impl ContainerInfo {
    /// Whether this id is that of its present run, or of its last one while there is none.
    pub fn is_present_run(&self, id: &str) -> bool {
        self.ids.last().is_some_and(|present| **present == *id)
    }

    /// How many runs there were before the one with this id, as far as the status tells.
    pub fn restarts_before(&self, id: &str) -> Option<u32> {
        let count = self.status.restart_count?;
        if self.is_present_run(id) {
            return Some(count);
        }
        // The status has two runs at most.
        let is_one_before = self.ids.iter().any(|before| **before == *id);
        is_one_before.then(|| count.checked_sub(1))?
    }

    /// The digest of the image that the run with this id was started from. That of an earlier run is not known any more.
    pub fn digest_of(&self, id: &str) -> Option<&Arc<str>> {
        let digest = self.image_digest.as_ref();
        digest.filter(|_| self.is_present_run(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_present_run() {
        let check = |ids: &[&str], count: Option<u32>, id: &str, expected: Option<u32>| {
            let container = ContainerInfo {
                ids: ids.iter().map(|id| Arc::from(*id)).collect(),
                status: ContainerStatus {
                    restart_count: count,
                    ..ContainerStatus::default()
                },
                ..ContainerInfo::default()
            };
            assert_eq!(container.restarts_before(id), expected, "{ids:?} {id}");
        };
        check(&["a", "b"], Some(3), "b", Some(3));
        check(&["a", "b"], Some(3), "a", Some(2));
        check(&["b", "b"], Some(3), "b", Some(3));
        check(&["a", "b"], Some(3), "z", None);
        check(&["a", "b"], Some(0), "a", None);
        check(&["a", "b"], None, "b", None);
        check(&[], Some(3), "b", None);
    }
}
