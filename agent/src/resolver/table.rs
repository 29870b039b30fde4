//! Everything in the cluster that has an address, and what is new about it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::identity::Workload;
use crate::identity::cluster::{Address, ClusterObject, ClusterUpdate, ObjectKind};
use crate::identity::remote::Told;

/// What is new about an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum News<'a> {
    /// It is there, or has changed.
    Applied(Told<'a>),
    /// It is gone.
    Gone(ObjectKind, &'a str),
}

/// The objects of all kinds, as lean as can be: there may be hundreds of thousands.
#[derive(Debug, Default)]
pub(super) struct Table {
    kinds: [Objects; ObjectKind::ALL.len()],
}

#[derive(Debug, Default)]
struct Objects {
    by_uid: HashMap<Arc<str>, Stored>,
    /// Number of the last list; `None` before the first.
    listed: Option<u32>,
}

#[derive(Debug)]
struct Stored {
    name: Arc<Workload>,
    addresses: Box<[Address]>,
    since: i64,
    finished: bool,
    /// Number of the list it was last seen in, or after.
    listed: u32,
}

impl Table {
    /// Takes an update in, and tells what is new about it. What was listed again without change is not.
    pub(super) fn apply(&mut self, update: ClusterUpdate, mut tell: impl FnMut(News<'_>)) {
        match update {
            ClusterUpdate::Applied(object) => self.of(object.kind).apply(*object, &mut tell),
            ClusterUpdate::Deleted { kind, uid } => {
                if self.of(kind).by_uid.remove(&uid).is_some() {
                    tell(News::Gone(kind, &uid));
                }
            }
            ClusterUpdate::Restarted { kind, objects } => {
                self.of(kind).restart(kind, objects, &mut tell);
            }
        }
    }

    /// Whether every kind was listed once.
    pub(super) fn is_complete(&self) -> bool {
        self.kinds.iter().all(|objects| objects.listed.is_some())
    }

    /// Objects there are.
    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(|objects| objects.by_uid.len()).sum()
    }

    /// All objects, those with the same name beside each other.
    pub(super) fn all(&self) -> Vec<Told<'_>> {
        let mut all = Vec::with_capacity(self.len());
        for (kind, objects) in ObjectKind::ALL.into_iter().zip(&self.kinds) {
            let objects = objects.by_uid.iter();
            all.extend(objects.map(|(uid, stored)| stored.told(kind, uid)));
        }
        all.sort_unstable_by_key(|told| (told.kind, Arc::as_ptr(told.name)));
        all
    }

    fn of(&mut self, kind: ObjectKind) -> &mut Objects {
        &mut self.kinds[kind.index()]
    }
}

impl Objects {
    fn apply(&mut self, object: ClusterObject, tell: &mut impl FnMut(News<'_>)) {
        let ClusterObject {
            kind,
            uid,
            name,
            addresses,
            since,
            finished,
        } = object;
        let mut new = Stored {
            name,
            addresses: addresses.into(),
            since: since.map_or(0, Timestamp::as_second),
            finished,
            listed: self.listed.unwrap_or_default(),
        };
        match self.by_uid.get_mut(&uid) {
            Some(known) if known.is_same(&new) => known.listed = new.listed,
            Some(known) => {
                if known.name == new.name {
                    new.name = Arc::clone(&known.name);
                }
                *known = new;
                tell(News::Applied(known.told(kind, &uid)));
            }
            None => {
                tell(News::Applied(new.told(kind, &uid)));
                self.by_uid.insert(uid, new);
            }
        }
    }

    fn restart(
        &mut self,
        kind: ObjectKind,
        objects: Vec<ClusterObject>,
        tell: &mut impl FnMut(News<'_>),
    ) {
        let number = self.listed.map_or(1, |last| last.wrapping_add(1));
        self.listed = Some(number);
        self.by_uid
            .reserve(objects.len().saturating_sub(self.by_uid.len()));
        for object in objects {
            self.apply(object, tell);
        }
        self.by_uid.retain(|uid, stored| {
            let there = stored.listed == number;
            if !there {
                tell(News::Gone(kind, uid));
            }
            there
        });
    }
}

impl Stored {
    fn is_same(&self, other: &Self) -> bool {
        self.since == other.since
            && self.finished == other.finished
            && self.addresses == other.addresses
            && self.name == other.name
    }

    fn told<'a>(&'a self, kind: ObjectKind, uid: &'a str) -> Told<'a> {
        Told {
            kind,
            uid,
            name: &self.name,
            addresses: &self.addresses,
            since: self.since,
            finished: self.finished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::support::{object, pod};
    use super::*;

    fn apply(table: &mut Table, update: ClusterUpdate) -> String {
        let mut told = Vec::new();
        table.apply(update, |news| {
            told.push(match news {
                News::Applied(told) => format!("+{}", told.uid),
                News::Gone(kind, uid) => format!("-{kind:?} {uid}"),
            });
        });
        told.sort();
        told.join(" ")
    }

    fn applied(object: ClusterObject) -> ClusterUpdate {
        ClusterUpdate::Applied(Box::new(object))
    }

    fn listed(objects: Vec<ClusterObject>) -> ClusterUpdate {
        let kind = ObjectKind::Pod;
        ClusterUpdate::Restarted { kind, objects }
    }

    #[test]
    fn only_news_is_told() {
        let mut table = Table::default();
        let (kind, uid) = (ObjectKind::Pod, "a".into());
        assert_eq!(
            apply(&mut table, listed(vec![pod("a", 1), pod("b", 2)])),
            "+a +b"
        );
        assert_eq!(apply(&mut table, applied(pod("a", 1))), "");
        assert_eq!(apply(&mut table, applied(pod("a", 3))), "+a");
        let mut finished = pod("a", 3);
        finished.finished = true;
        assert_eq!(apply(&mut table, applied(finished)), "+a");
        let relisted = listed(vec![pod("a", 3), pod("c", 4)]);
        assert_eq!(apply(&mut table, relisted), "+a +c -Pod b");
        assert_eq!(
            apply(&mut table, ClusterUpdate::Deleted { kind, uid }),
            "-Pod a"
        );
        let (kind, uid) = (ObjectKind::Pod, "a".into());
        assert_eq!(apply(&mut table, ClusterUpdate::Deleted { kind, uid }), "");
        assert_eq!(table.len(), 1);
        assert_eq!(apply(&mut table, listed(Vec::new())), "-Pod c");
    }

    #[test]
    fn kinds_are_apart() {
        let mut table = Table::default();
        for kind in ObjectKind::ALL {
            assert!(!table.is_complete());
            let objects = vec![object(kind, "u", 1)];
            apply(&mut table, ClusterUpdate::Restarted { kind, objects });
        }
        assert!(table.is_complete());
        let kinds: Vec<_> = table.all().iter().map(|told| told.kind).collect();
        assert_eq!(kinds, ObjectKind::ALL);
    }
}
