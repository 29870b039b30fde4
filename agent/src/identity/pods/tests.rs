use std::sync::Arc;

use proptest::prelude::{prop_assert, proptest};

use super::{IDS_PER_POD, PodTable, PodUpdate};
use crate::identity::pod_info::PodInfo;
use crate::identity::testing::{container, pod};

const LINGER: u64 = 100;

fn table(pods: impl IntoIterator<Item = PodInfo>) -> PodTable {
    let mut table = PodTable::new(4, LINGER);
    for pod in pods {
        apply(&mut table, pod);
    }
    table
}

fn apply(table: &mut PodTable, pod: PodInfo) -> u64 {
    table.apply(PodUpdate::Applied(Box::new(pod)), 0)
}

fn delete(table: &mut PodTable, uid: &str, now: u64) -> u64 {
    table.apply(PodUpdate::Deleted { uid: uid.into() }, now)
}

#[test]
fn found_every_way() {
    let web = PodInfo {
        containers: vec![container("app", "c1"), container("proxy", "c2")],
        ..pod("ns", "web")
    };
    let table = table([web]);
    assert_eq!(table.by_uid("uid-web").map(|pod| &*pod.name), Some("web"));
    let (found, proxy) = table.by_container("c2").unwrap();
    assert_eq!((&*found.name, &*proxy.name), ("web", "proxy"));
    assert!(table.by_uid("c1").is_none() && table.by_container("uid-web").is_none());
}

#[test]
fn static_pods_are_found_by_their_hash() {
    let first = PodInfo {
        config_hash: Some("h1".into()),
        ..pod("kube-system", "etcd")
    };
    let mirror = PodInfo {
        uid: "uid-2".into(),
        ..first.clone()
    };
    let mut table = table([first, mirror]);
    assert_eq!(table.by_uid("h1").map(|pod| &*pod.uid), Some("uid-2"));
    delete(&mut table, "uid-etcd", 0);
    table.expire(LINGER);
    assert_eq!(table.by_uid("h1").map(|pod| &*pod.uid), Some("uid-2"));
}

#[test]
fn a_deleted_pod_is_known_for_a_while() {
    let mut table = table([PodInfo {
        containers: vec![container("app", "c1")],
        ..pod("ns", "web")
    }]);
    delete(&mut table, "uid-web", 50);
    table.expire(50 + LINGER - 1);
    assert!(
        table.by_uid("uid-web").is_some() && table.by_container("c1").is_some() && table.is_empty()
    );
    table.expire(50 + LINGER);
    assert!(table.by_uid("uid-web").is_none() && table.by_container("c1").is_none());
}

#[test]
fn ids_of_earlier_runs_stay_within_bounds() {
    let mut table = PodTable::new(4, LINGER);
    let last = IDS_PER_POD + 1;
    for run in 0..=last {
        let containers = vec![container("app", &format!("c{run}"))];
        apply(
            &mut table,
            PodInfo {
                containers,
                ..pod("ns", "web")
            },
        );
    }
    assert!(table.by_container("c0").is_none() && table.by_container("c1").is_none());
    for run in [2, last] {
        let found = table
            .by_container(&format!("c{run}"))
            .map(|(_, container)| &*container.name);
        assert_eq!(found, Some("app"), "c{run}");
    }
    delete(&mut table, "uid-web", 0);
    table.expire(LINGER);
    assert!(table.by_container.is_empty());
}

#[test]
fn ids_that_are_reported_stay() {
    let many = IDS_PER_POD + 6;
    let all = |run: usize| {
        let containers = (0..many).map(|n| container(&format!("n{n}"), &format!("c{n}-{run}")));
        PodInfo {
            containers: containers.collect(),
            ..pod("ns", "web")
        }
    };
    let mut table = table([all(0), all(1)]);
    assert!((0..many).all(|n| table.by_container(&format!("c{n}-1")).is_some()));
    assert!((0..many).all(|n| table.by_container(&format!("c{n}-0")).is_none()));
    // One that is another pod's by now is not taken from it.
    let other = PodInfo {
        containers: vec![container("other", "c0-1")],
        ..pod("ns", "other")
    };
    apply(&mut table, other);
    apply(&mut table, all(2));
    let (found, _) = table.by_container("c0-1").unwrap();
    assert_eq!(&*found.name, "other");
}

#[test]
fn an_unchanged_pod_stays_the_same_object() {
    let mut table = table([pod("ns", "web")]);
    let before = Arc::clone(table.by_uid("uid-web").unwrap());
    apply(&mut table, pod("ns", "web"));
    assert!(Arc::ptr_eq(&before, table.by_uid("uid-web").unwrap()));
    let changed = PodInfo {
        host_network: true,
        ..pod("ns", "web")
    };
    apply(&mut table, changed);
    assert!(!Arc::ptr_eq(&before, table.by_uid("uid-web").unwrap()));
}

#[test]
fn a_relist_replaces_everything() {
    let mut table = table([pod("ns", "a"), pod("ns", "b")]);
    table.apply(
        PodUpdate::Restarted(vec![pod("ns", "b"), pod("ns", "c")]),
        10,
    );
    assert_eq!(table.len(), 2);
    assert!(table.by_uid("uid-a").is_some());
    table.expire(10 + LINGER);
    let known = ["a", "b", "c"].map(|name| table.by_uid(&format!("uid-{name}")).is_some());
    assert_eq!(known, [false, true, true]);
}

#[test]
fn a_deleted_pod_may_come_back() {
    let mut table = table([PodInfo {
        containers: vec![container("app", "c1")],
        ..pod("ns", "a")
    }]);
    delete(&mut table, "uid-a", 0);
    apply(
        &mut table,
        PodInfo {
            containers: vec![container("app", "c2")],
            ..pod("ns", "a")
        },
    );
    table.expire(LINGER);
    assert!(table.by_container("c1").is_some() && table.by_container("c2").is_some());
}

#[test]
fn the_oldest_make_room() {
    let mut table = PodTable::new(2, LINGER);
    let evictions = ["a", "b", "c"].map(|name| apply(&mut table, pod("ns", name)));
    assert_eq!(evictions, [0, 0, 1]);
    assert_eq!(table.len(), 2);
    assert!(table.by_uid("uid-a").is_none());
}

proptest! {
    /// Whatever happens, the indexes point only at pods that are there, and nothing grows beyond its bound.
    #[test]
    fn indexes_follow_the_pods(steps in proptest::collection::vec((0_u8..4, 0_u8..8, 0_u8..6), 0..80)) {
        let mut table = PodTable::new(3, 5);
        for (now, (action, which, detail)) in (0..).zip(steps) {
            match action {
                0 | 1 => {
                    let info = PodInfo {
                        config_hash: Some(format!("h{detail}").into()),
                        containers: vec![container("app", &format!("c{which}-{detail}"))],
                        ..pod("ns", &format!("p{which}"))
                    };
                    apply(&mut table, info);
                }
                2 => { delete(&mut table, &format!("uid-p{which}"), now); }
                _ => table.expire(now),
            }
            prop_assert!(table.living.len() <= 3 && table.deleted.len() <= 3);
            prop_assert!(table.by_hash.values().all(|uid| table.entry(uid).is_some()));
            prop_assert!(table.by_container.values().all(|run| table.entry(&run.pod).is_some()));
        }
    }
}
