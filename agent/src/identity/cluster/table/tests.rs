use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

mod bounds;
mod seen;

const SECOND: u64 = 1_000_000_000;
/// The wall clock when the boot clock is 0, in seconds.
const BOOT: u64 = 1_000_000;
/// A network namespace.
const HOME: u32 = 1;

fn at(seconds: u64) -> Moment {
    Moment {
        boot: seconds * SECOND,
        unix: (BOOT + seconds) * SECOND,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn object(kind: ObjectKind, name: &str, addresses: &[(&str, Option<u16>)]) -> ClusterObject {
    ClusterObject {
        kind,
        uid: format!("uid-{name}").into(),
        name: Arc::new(Workload {
            namespace: "ns".into(),
            name: name.into(),
            kind: format!("{kind:?}").into(),
        }),
        addresses: addresses
            .iter()
            .map(|(text, port)| Address {
                ip: ip(text),
                port: *port,
            })
            .collect(),
        since: None,
        finished: false,
    }
}

fn pod(name: &str, address: &str) -> ClusterObject {
    object(ObjectKind::Pod, name, &[(address, None)])
}

fn begun(object: ClusterObject, second: u64) -> ClusterObject {
    let second = i64::try_from(BOOT + second).unwrap();
    ClusterObject {
        since: Timestamp::from_second(second).ok(),
        ..object
    }
}

struct Fixture(ClusterTable);

impl Fixture {
    fn new() -> Self {
        Self(ClusterTable::new(16, 60 * SECOND))
    }

    fn apply(&mut self, object: ClusterObject, seconds: u64) {
        let update = ClusterUpdate::Applied(Box::new(object));
        assert_eq!(self.0.apply(update, Source::Cluster, at(seconds)), 0);
    }

    fn delete(&mut self, kind: ObjectKind, name: &str, seconds: u64) {
        let uid = format!("uid-{name}").into();
        let update = ClusterUpdate::Deleted { kind, uid };
        self.0.apply(update, Source::Cluster, at(seconds));
    }

    fn seen(&mut self, address: &str, name: &str, seconds: u64) {
        self.seen_in(HOME, address, name, seconds);
    }

    fn seen_in(&mut self, netns: u32, address: &str, name: &str, seconds: u64) {
        let uid = format!("uid-{name}");
        self.0.seen(ip(address), netns, &uid, seconds * SECOND);
    }

    fn who(&self, address: &str, port: u16, time: u64) -> String {
        match self.0.holder(ip(address), port, time) {
            Holder::Object { name, .. } => name.name.to_string(),
            Holder::Left { .. } => "left".to_owned(),
            Holder::Unknown => "unknown".to_owned(),
        }
    }

    #[track_caller]
    fn check(&self, address: &str, expected: &[(u64, &str)]) {
        let found: Vec<_> = expected
            .iter()
            .map(|(time, _)| (*time, self.who(address, 80, *time)))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(time, name)| (*time, (*name).to_owned()))
            .collect();
        assert_eq!(found, expected, "{:?}", self.0.by_ip);
    }
}

#[test]
fn the_first_holder_had_it_before_it_was_told_of() {
    let mut all = Fixture::new();
    all.check("10.0.0.1", &[(0, "unknown")]);
    all.apply(pod("a", "10.0.0.1"), 10);
    all.check(
        "10.0.0.1",
        &[(0, "a"), (10 * SECOND, "a"), (u64::MAX - 1, "a")],
    );
    all.check("10.0.0.2", &[(0, "unknown")]);
}

#[test]
fn one_that_left_is_known_for_the_time_it_was_there() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 10);
    all.delete(ObjectKind::Pod, "a", 20);
    all.check("10.0.0.1", &[(20 * SECOND - 1, "a"), (20 * SECOND, "left")]);
    // The next: told of a little later, and there since the first had left.
    all.apply(pod("b", "10.0.0.1"), 21);
    all.check(
        "10.0.0.1",
        &[
            (20 * SECOND - 1, "a"),
            (20 * SECOND, "b"),
            (21 * SECOND, "b"),
        ],
    );
    all.0.expire(79 * SECOND);
    all.check("10.0.0.1", &[(20 * SECOND - 1, "a")]);
    all.0.expire(80 * SECOND);
    all.check(
        "10.0.0.1",
        &[(20 * SECOND - 1, "unknown"), (20 * SECOND, "b")],
    );
}

#[test]
fn one_that_finished_left() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 10);
    let finished = ClusterObject {
        finished: true,
        ..pod("a", "10.0.0.1")
    };
    all.apply(finished, 20);
    all.apply(pod("b", "10.0.0.1"), 30);
    // Its deletion later changes nothing.
    all.delete(ObjectKind::Pod, "a", 40);
    all.check(
        "10.0.0.1",
        &[(19 * SECOND, "a"), (25 * SECOND, "b"), (45 * SECOND, "b")],
    );
}

#[test]
fn a_younger_pod_takes_the_address_from_one_whose_end_was_not_told() {
    let mut all = Fixture::new();
    all.apply(begun(pod("a", "10.0.0.1"), 1), 2);
    all.apply(begun(pod("b", "10.0.0.1"), 30), 32);
    all.check("10.0.0.1", &[(29 * SECOND, "a"), (30 * SECOND, "b")]);
    // Late news of the older do not take it back.
    all.apply(begun(pod("a", "10.0.0.1"), 1), 33);
    all.check("10.0.0.1", &[(29 * SECOND, "a"), (34 * SECOND, "b")]);
}

#[test]
fn an_older_pod_that_is_told_of_later_had_it_before() {
    let mut all = Fixture::new();
    all.apply(begun(pod("b", "10.0.0.1"), 30), 32);
    all.apply(begun(pod("a", "10.0.0.1"), 1), 33);
    all.check("10.0.0.1", &[(34 * SECOND, "b"), (31 * SECOND, "b")]);
}

#[test]
fn ports_and_kinds() {
    let mut all = Fixture::new();
    all.apply(object(ObjectKind::Node, "node", &[("192.0.2.1", None)]), 1);
    all.apply(
        object(
            ObjectKind::Endpoints,
            "kubernetes",
            &[("192.0.2.1", Some(6443))],
        ),
        1,
    );
    assert_eq!(all.who("192.0.2.1", 6443, 0), "kubernetes");
    assert_eq!(all.who("192.0.2.1", 10250, 0), "node");
    all.apply(object(ObjectKind::Service, "lb", &[("192.0.2.1", None)]), 2);
    assert_eq!(all.who("192.0.2.1", 6443, 0), "lb");
    all.delete(ObjectKind::Service, "lb", 3);
    assert_eq!(all.who("192.0.2.1", 6443, 4 * SECOND), "kubernetes");
    all.delete(ObjectKind::Node, "node", 3);
    assert_eq!(all.who("192.0.2.1", 10250, 4 * SECOND), "left");
}

#[test]
fn a_list_replaces_what_the_same_source_told_of_that_kind() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    all.apply(object(ObjectKind::Node, "node", &[("192.0.2.1", None)]), 1);
    let own = ClusterUpdate::Applied(Box::new(pod("own", "10.0.0.9")));
    all.0.apply(own, Source::Node, at(1));
    let objects = vec![pod("b", "10.0.0.2")];
    let list = ClusterUpdate::Restarted {
        kind: ObjectKind::Pod,
        objects,
    };
    all.0.apply(list, Source::Cluster, at(5));
    let names = ["10.0.0.1", "10.0.0.2", "10.0.0.9", "192.0.2.1"]
        .map(|address| all.who(address, 1, 6 * SECOND));
    assert_eq!(names, ["left", "b", "own", "node"]);
}

#[test]
fn what_two_told_of_is_gone_when_both_say_so() {
    let mut all = Fixture::new();
    for source in [Source::Node, Source::Cluster] {
        let update = ClusterUpdate::Applied(Box::new(pod("a", "10.0.0.1")));
        all.0.apply(update, source, at(1));
    }
    all.delete(ObjectKind::Pod, "a", 2);
    all.check("10.0.0.1", &[(3 * SECOND, "a")]);
    let update = ClusterUpdate::Deleted {
        kind: ObjectKind::Pod,
        uid: "uid-a".into(),
    };
    all.0.apply(update, Source::Node, at(4));
    all.check("10.0.0.1", &[(3 * SECOND, "a"), (4 * SECOND, "left")]);
}

#[test]
fn a_pod_that_has_ended_does_not_begin_again() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    all.seen("10.0.0.1", "a", 2);
    all.seen("10.9.0.1", "a", 2);
    let ended = ClusterObject {
        finished: true,
        ..pod("a", "10.0.0.1")
    };
    all.0
        .apply(ClusterUpdate::Applied(Box::new(ended)), Source::Node, at(3));
    // The cluster's watch is behind.
    all.apply(pod("a", "10.0.0.1"), 4);
    for address in ["10.0.0.1", "10.9.0.1"] {
        all.check(address, &[(3 * SECOND, "left"), (4 * SECOND, "left")]);
    }
}

#[test]
fn a_service_without_addresses_has_none() {
    let mut all = Fixture::new();
    all.apply(
        object(ObjectKind::Service, "cart", &[("10.96.0.7", None)]),
        1,
    );
    all.apply(object(ObjectKind::Service, "cart", &[]), 2);
    all.check("10.96.0.7", &[(SECOND, "cart"), (2 * SECOND, "left")]);
}

#[test]
fn only_a_new_name_for_who_keeps_an_address_is_a_renaming() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    all.apply(pod("a", "10.0.0.1"), 2);
    all.delete(ObjectKind::Pod, "a", 3);
    all.apply(pod("b", "10.0.0.1"), 4);
    assert!(!all.0.take_renamed());
    let adopted = ClusterObject {
        name: pod("web", "10.0.0.1").name,
        ..pod("b", "10.0.0.1")
    };
    all.apply(adopted, 5);
    assert!(all.0.take_renamed() && !all.0.take_renamed());
    all.check("10.0.0.1", &[(5 * SECOND, "web")]);
}

#[test]
fn kinds_are_numbered_as_they_are_listed() {
    assert_eq!(ObjectKind::ALL.map(ObjectKind::index), [0, 1, 2, 3]);
}

#[test]
fn uids() {
    let uuid = "0f2c9bd5-46f1-4a6e-8a2d-1d6a1c8b7e55";
    assert_eq!(number(uuid), 0x0f2c_9bd5_46f1_4a6e_8a2d_1d6a_1c8b_7e55);
    assert_eq!(number(&uuid.replace('-', "")), number(uuid));
    assert_ne!(number("a"), number("b"));
    assert_ne!(number("0"), number("00"));
}

#[test]
fn names_are_shared_and_given_up() {
    let mut all = Fixture::new();
    for number in 1..=3 {
        let one = ClusterObject {
            uid: format!("uid-{number}").into(),
            ..pod("web", &format!("10.0.0.{number}"))
        };
        all.apply(one, 1);
    }
    assert_eq!(all.0.names.len(), 1);
    let list = ClusterUpdate::Restarted {
        kind: ObjectKind::Pod,
        objects: Vec::new(),
    };
    all.0.apply(list, Source::Cluster, at(2));
    all.0.expire(100 * SECOND);
    assert!(all.0.names.len() == 0 && all.0.by_ip.is_empty() && all.0.is_empty());
}

proptest! {
    /// Whatever happens: nothing is left of what is gone once it expired, and no two pods have an address at one time.
    #[test]
    fn nothing_stays_behind(steps in proptest::collection::vec((0_u8..5, 0_u8..6, 0_u8..4, 0_u64..40), 0..80)) {
        let mut table = ClusterTable::new(4, 5 * SECOND);
        for (now, (action, which, address, since)) in (0..).zip(steps) {
            let one = begun(pod(&which.to_string(), &format!("10.0.0.{address}")), since);
            let uid: Arc<str> = Arc::clone(&one.uid);
            let source = if since % 2 == 0 { Source::Node } else { Source::Cluster };
            match action {
                0 | 1 => { table.apply(ClusterUpdate::Applied(Box::new(one)), source, at(now)); }
                2 => { table.apply(ClusterUpdate::Deleted { kind: ObjectKind::Pod, uid }, source, at(now)); }
                3 => { table.seen(ip(&format!("10.0.0.{address}")), HOME + u32::from(which) % 3, &uid, now * SECOND); }
                _ => table.expire(now * SECOND),
            }
            prop_assert!(table.len() <= 4);
            for claims in table.by_ip.values() {
                prop_assert!(claims.living_pods() <= 1, "{claims:?}");
            }
        }
        for source in [Source::Node, Source::Cluster] {
            let objects = Vec::new();
            table.apply(ClusterUpdate::Restarted { kind: ObjectKind::Pod, objects }, source, at(100));
        }
        table.expire(200 * SECOND);
        prop_assert!(table.by_ip.is_empty(), "{:?}", table.by_ip);
        prop_assert_eq!(table.addresses, 0);
        prop_assert!(table.ended.is_empty() && table.names.len() == 0);
    }
}
