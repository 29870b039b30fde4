//! How long containers were there before Kubernetes told whose they are.

use std::sync::Arc;
use std::time::Duration;

use super::pods::PodUpdate;
use crate::aged_map::AgedMap;

/// Containers of pods that nobody has named yet. Sandboxes stay until there is no room for them: nobody ever names them.
#[derive(Debug)]
pub(super) struct NamingLag {
    /// By container id: when its first cgroup was made (boot clock, nanoseconds).
    unnamed: AgedMap<Arc<str>, u64>,
}

impl NamingLag {
    /// At most `capacity` are waited for; of those that make room it is not known how long it took.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            unnamed: AgedMap::new(capacity),
        }
    }

    /// A container is there since a time.
    pub(super) fn made(&mut self, id: &Arc<str>, at: u64) {
        drop(self.unnamed.insert(Arc::clone(id), at));
    }

    /// How long each container took that this update is the first to name.
    pub(super) fn named(&mut self, update: &PodUpdate, now: u64) -> Vec<Duration> {
        let ids = update
            .pods()
            .iter()
            .flat_map(|pod| &pod.containers)
            .flat_map(|container| &container.ids);
        ids.filter_map(|id| self.unnamed.remove(id))
            .map(|made| Duration::from_nanos(now.saturating_sub(made)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{container, pod};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn with(ids: &[&str]) -> PodUpdate {
        let mut pod = pod("shop", "web");
        pod.containers = ids.iter().map(|id| container("c", id)).collect();
        PodUpdate::Applied(Box::new(pod))
    }

    #[test]
    fn each_container_is_named_once() {
        let mut lag = NamingLag::new(10);
        lag.made(&"a".into(), SECOND);
        lag.made(&"b".into(), 2 * SECOND);
        let mut check = |update: PodUpdate, now: u64, expected: &[u64]| {
            let seconds: Vec<u64> = lag
                .named(&update, now * SECOND)
                .iter()
                .map(Duration::as_secs)
                .collect();
            assert_eq!(seconds, expected, "{update:?}");
        };
        check(PodUpdate::Deleted { uid: "a".into() }, 3, &[]);
        check(with(&[]), 3, &[]);
        check(with(&["a", "nobody's"]), 3, &[2]);
        check(with(&["a"]), 4, &[]);
        let mut other = pod("shop", "api");
        other.containers = vec![container("c", "b")];
        check(PodUpdate::Restarted(vec![other]), 62, &[60]);
    }

    #[test]
    fn who_is_never_named_makes_room() {
        let mut lag = NamingLag::new(2);
        for id in ["a", "b", "c"] {
            lag.made(&id.into(), 0);
        }
        assert_eq!(lag.named(&with(&["a", "b", "c"]), SECOND).len(), 2);
    }
}
