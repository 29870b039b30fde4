//! The pods of this node: by UID, by container; deleted ones for a while.

use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::pod_info::{ContainerInfo, PodInfo};
use crate::aged_map::AgedMap;

use crate::hash::HashMap;

/// Ids kept per pod, those it reports apart. A container that keeps crashing gets a new one with every run.
const IDS_PER_POD: usize = 64;

/// What the watch tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodUpdate {
    /// A pod is new or has changed.
    Applied(Box<PodInfo>),
    /// A pod is gone.
    Deleted {
        /// Its `metadata.uid`.
        uid: Arc<str>,
    },
    /// All pods there are, after a (re)list; whatever is not among them is gone.
    Restarted(Vec<PodInfo>),
}

impl PodUpdate {
    /// The pods that it tells of, as they are now.
    pub fn pods(&self) -> &[PodInfo] {
        match self {
            Self::Applied(pod) => std::slice::from_ref(&**pod),
            Self::Deleted { .. } => &[],
            Self::Restarted(pods) => pods,
        }
    }
}

/// Bounded table of pods.
#[derive(Debug)]
pub struct PodTable {
    living: AgedMap<Arc<str>, Entry>,
    /// In the order of their deletion.
    deleted: AgedMap<Arc<str>, Deleted>,
    linger: u64,
    by_hash: HashMap<Arc<str>, Arc<str>>,
    by_container: HashMap<Arc<str>, ContainerRun>,
}

#[derive(Debug)]
struct Entry {
    info: Arc<PodInfo>,
    /// Container ids in the order they were first reported.
    ids: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Deleted {
    entry: Entry,
    at: u64,
}

#[derive(Debug)]
struct ContainerRun {
    pod: Arc<str>,
    container: Arc<str>,
}

impl PodTable {
    /// Room for `capacity` living and as many deleted pods; the latter are known for `linger` nanoseconds.
    pub fn new(capacity: usize, linger: u64) -> Self {
        Self {
            living: AgedMap::new(capacity),
            deleted: AgedMap::new(capacity),
            linger,
            by_hash: HashMap::default(),
            by_container: HashMap::default(),
        }
    }

    /// Takes in an update. Returns how many entries had to make room.
    pub fn apply(&mut self, update: PodUpdate, now: u64) -> u64 {
        match update {
            PodUpdate::Applied(info) => self.put(*info),
            PodUpdate::Deleted { uid } => self.delete(&uid, now),
            PodUpdate::Restarted(pods) => {
                let listed: HashSet<Arc<str>> =
                    pods.iter().map(|pod| Arc::clone(&pod.uid)).collect();
                let is_gone = |uid: &&Arc<str>| !listed.contains(*uid);
                let gone: Vec<_> = self
                    .living
                    .iter()
                    .map(|(uid, _)| uid)
                    .filter(is_gone)
                    .map(Arc::clone)
                    .collect();
                let deleted: u64 = gone.iter().map(|uid| self.delete(uid, now)).sum();
                deleted + pods.into_iter().map(|pod| self.put(pod)).sum::<u64>()
            }
        }
    }

    /// The pod with this UID, or the static pod with this hash.
    pub fn by_uid(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.entry(uid)
            .or_else(|| self.by_hash.get(uid).and_then(|uid| self.entry(uid)))
            .map(|entry| &entry.info)
    }

    /// The pod and the container in it that this id (64 hexadecimal digits) was reported for.
    pub fn by_container(&self, id: &str) -> Option<(&Arc<PodInfo>, &ContainerInfo)> {
        let run = self.by_container.get(id)?;
        let pod = &self.entry(&run.pod)?.info;
        let container = pod
            .containers
            .iter()
            .find(|container| container.name == run.container)?;
        Some((pod, container))
    }

    /// Forgets the pods deleted too long ago.
    pub fn expire(&mut self, now: u64) {
        let linger = self.linger;
        while let Some((_, pod)) = self
            .deleted
            .pop_oldest_if(|pod| now.saturating_sub(pod.at) >= linger)
        {
            self.forget(&pod.entry);
        }
    }

    /// Number of living pods.
    pub fn len(&self) -> usize {
        self.living.len()
    }

    /// Whether no living pod is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, uid: &str) -> Option<&Entry> {
        let living = self.living.get(uid);
        living.or_else(|| self.deleted.get(uid).map(|pod| &pod.entry))
    }

    fn put(&mut self, info: PodInfo) -> u64 {
        let uid = Arc::clone(&info.uid);
        let evicted = match self.living.get_mut(&uid) {
            // Unchanged in all that matters: whoever holds the old one need not look again.
            Some(entry) if *entry.info == info => return 0,
            Some(entry) => {
                let old = std::mem::replace(&mut entry.info, Arc::new(info));
                self.release(&old);
                None
            }
            None => {
                let revived = self.deleted.remove(&uid).map(|pod| pod.entry);
                let ids = revived
                    .as_ref()
                    .map(|entry| entry.ids.clone())
                    .unwrap_or_default();
                if let Some(entry) = revived {
                    self.release(&entry.info);
                }
                self.living.insert(
                    Arc::clone(&uid),
                    Entry {
                        info: Arc::new(info),
                        ids,
                    },
                )
            }
        };
        if let Some((_, entry)) = &evicted {
            self.forget(entry);
        }
        self.index(&uid);
        u64::from(evicted.is_some())
    }

    fn delete(&mut self, uid: &Arc<str>, now: u64) -> u64 {
        let Some(entry) = self.living.remove(uid) else {
            return 0;
        };
        let evicted = self
            .deleted
            .insert(Arc::clone(uid), Deleted { entry, at: now });
        if let Some((_, pod)) = &evicted {
            self.forget(&pod.entry);
        }
        u64::from(evicted.is_some())
    }

    fn index(&mut self, uid: &Arc<str>) {
        let Some(info) = self.living.get(uid).map(|entry| Arc::clone(&entry.info)) else {
            return;
        };
        if let Some(hash) = &info.config_hash {
            self.by_hash.insert(Arc::clone(hash), Arc::clone(uid));
        }
        for container in &info.containers {
            for id in &container.ids {
                self.index_container(uid, id, &container.name);
            }
        }
        self.forget_old_ids(&info);
    }

    /// Of the ids that the pod does not report any more, the first go.
    fn forget_old_ids(&mut self, info: &PodInfo) {
        let Some(entry) = self.living.get_mut(&info.uid) else {
            return;
        };
        let mut excess = entry.ids.len().saturating_sub(IDS_PER_POD);
        if excess == 0 {
            return;
        }
        let all = info.containers.iter();
        let reported: HashSet<_> = all.flat_map(|container| &container.ids).collect();
        let by_container = &mut self.by_container;
        entry.ids.retain(|id| {
            let goes = excess > 0 && !reported.contains(id);
            if goes {
                excess -= 1;
                // It may be another pod's by now.
                if by_container.get(id).is_some_and(|run| run.pod == info.uid) {
                    by_container.remove(id);
                }
            }
            !goes
        });
    }

    /// Ids are kept when the pod no longer reports them, for what the run before left behind.
    fn index_container(&mut self, uid: &Arc<str>, id: &Arc<str>, name: &Arc<str>) {
        let run = ContainerRun {
            pod: Arc::clone(uid),
            container: Arc::clone(name),
        };
        let known = self.by_container.insert(Arc::clone(id), run);
        let is_new = known.is_none_or(|known| known.pod != *uid);
        let Some(entry) = self.living.get_mut(uid) else {
            return;
        };
        if is_new {
            entry.ids.push_back(Arc::clone(id));
        }
    }

    /// Takes away what the pod was found by, its containers excepted.
    fn release(&mut self, info: &PodInfo) {
        if let Some(hash) = &info.config_hash
            && self.by_hash.get(hash) == Some(&info.uid)
        {
            self.by_hash.remove(hash);
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.release(&entry.info);
        for id in &entry.ids {
            if self
                .by_container
                .get(id)
                .is_some_and(|run| run.pod == entry.info.uid)
            {
                self.by_container.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
