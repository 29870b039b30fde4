//! What pods are seen to use.

use super::*;

#[test]
fn a_pod_has_the_address_it_is_seen_with() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    // Told of, without an address yet.
    all.apply(object(ObjectKind::Pod, "b", &[]), 5);
    all.seen("10.0.0.1", "b", 6);
    all.check("10.0.0.1", &[(6 * SECOND - 1, "a"), (6 * SECOND, "b")]);
    // Its status says so later; nothing changes.
    all.apply(object(ObjectKind::Pod, "b", &[]), 7);
    all.apply(pod("b", "10.0.0.1"), 8);
    all.check(
        "10.0.0.1",
        &[(6 * SECOND - 1, "a"), (6 * SECOND, "b"), (9 * SECOND, "b")],
    );
    all.delete(ObjectKind::Pod, "a", 9);
    all.check("10.0.0.1", &[(10 * SECOND, "b")]);
    all.delete(ObjectKind::Pod, "b", 10);
    all.check("10.0.0.1", &[(10 * SECOND - 1, "b"), (10 * SECOND, "left")]);
    // Nobody is told of under this id.
    all.seen("10.0.0.1", "c", 11);
    all.check("10.0.0.1", &[(11 * SECOND, "left")]);
}

#[test]
fn a_pod_that_is_seen_has_the_address_since_the_one_before_left() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    all.delete(ObjectKind::Pod, "a", 4);
    all.apply(object(ObjectKind::Pod, "b", &[]), 5);
    all.seen("10.0.0.1", "b", 6);
    all.check(
        "10.0.0.1",
        &[(4 * SECOND - 1, "a"), (4 * SECOND, "b"), (7 * SECOND, "b")],
    );
    // Whose end was not told: since the next began.
    all.apply(begun(object(ObjectKind::Pod, "c", &[]), 8), 9);
    all.seen("10.0.0.1", "c", 10);
    all.check("10.0.0.1", &[(8 * SECOND - 1, "b"), (8 * SECOND, "c")]);
    // An address nobody had: since it began, as the other end of its first connection may be told of first.
    all.seen("10.0.0.2", "c", 10);
    all.check(
        "10.0.0.2",
        &[(8 * SECOND - 1, "unknown"), (8 * SECOND, "c")],
    );
    // Nobody knows when it began.
    all.apply(object(ObjectKind::Pod, "d", &[]), 9);
    all.seen("10.0.0.3", "d", 10);
    all.check(
        "10.0.0.3",
        &[(10 * SECOND - 1, "unknown"), (10 * SECOND, "d")],
    );
    // Told of, it is as if that had come first.
    all.apply(pod("d", "10.0.0.3"), 11);
    all.check("10.0.0.3", &[(0, "d")]);
}

#[test]
fn news_of_a_pod_do_not_take_what_it_is_seen_with() {
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    all.seen("10.0.0.1", "a", 1);
    all.seen("10.9.0.1", "a", 2);
    all.apply(pod("a", "10.0.0.1"), 3);
    all.check("10.9.0.1", &[(3 * SECOND, "a")]);
    // Somebody else is told to have it: neither news of the first nor its use take it back.
    all.apply(pod("b", "10.9.0.1"), 4);
    all.apply(pod("a", "10.0.0.1"), 5);
    all.seen("10.9.0.1", "a", 6);
    all.check("10.9.0.1", &[(4 * SECOND - 1, "a"), (7 * SECOND, "b")]);
    all.delete(ObjectKind::Pod, "b", 6);
    all.seen("10.9.0.1", "a", 6);
    let renamed = ClusterObject {
        name: pod("web", "10.0.0.1").name,
        ..pod("a", "10.0.0.1")
    };
    all.apply(renamed, 7);
    all.check("10.9.0.1", &[(7 * SECOND, "web")]);
    all.delete(ObjectKind::Pod, "a", 8);
    all.check("10.9.0.1", &[(8 * SECOND, "left")]);
}

/// A pod that is told to have an address, and is seen to use it.
fn settled(all: &mut Fixture, name: &str, address: &str, netns: u32) {
    all.apply(pod(name, address), 1);
    all.seen_in(netns, address, name, 1);
}

#[test]
fn what_others_are_told_to_have_is_theirs() {
    let mut all = Fixture::new();
    let (victim, evil) = (7, 8);
    settled(&mut all, "victim", "10.0.0.5", victim);
    settled(&mut all, "evil", "10.0.0.6", evil);
    for (kind, name, address, port) in [
        (ObjectKind::Service, "kubernetes", "10.96.0.1", None),
        (ObjectKind::Node, "node", "192.0.2.1", None),
        (ObjectKind::Endpoints, "api", "192.0.2.2", Some(80)),
    ] {
        all.apply(object(kind, name, &[(address, port)]), 1);
    }
    // One of which nothing is told yet is no better.
    all.apply(begun(object(ObjectKind::Pod, "young", &[]), 1), 2);
    for address in ["10.0.0.5", "10.96.0.1", "192.0.2.1", "192.0.2.2"] {
        all.seen_in(evil, address, "evil", 3);
        if address != "10.0.0.5" {
            all.seen_in(9, address, "young", 3);
        }
    }
    let names = ["10.0.0.5", "10.96.0.1", "192.0.2.1", "192.0.2.2"]
        .map(|address| all.who(address, 80, 4 * SECOND));
    assert_eq!(names, ["victim", "kubernetes", "node", "api"]);
    // What was seen gives way to what is told later.
    all.seen_in(evil, "10.96.0.9", "evil", 4);
    all.apply(
        object(ObjectKind::Service, "late", &[("10.96.0.9", None)]),
        5,
    );
    all.check("10.96.0.9", &[(4 * SECOND, "evil"), (5 * SECOND, "late")]);
    all.apply(begun(pod("twin", "10.0.0.7"), 1), 6);
    all.seen_in(evil, "10.0.0.7", "evil", 7);
    all.check("10.0.0.7", &[(8 * SECOND, "twin")]);
}

#[test]
fn only_the_pods_own_network_namespace_counts() {
    let mut all = Fixture::new();
    settled(&mut all, "ci", "10.0.0.5", 7);
    all.seen_in(8, "172.17.0.2", "ci", 3);
    all.check("172.17.0.2", &[(3 * SECOND, "unknown")]);
    all.seen_in(7, "10.9.0.1", "ci", 3);
    all.check("10.9.0.1", &[(3 * SECOND, "ci")]);
    // Another one in which it gives itself the address it is told to have does not become its own.
    all.seen_in(8, "10.0.0.5", "ci", 4);
    all.seen_in(8, "172.17.0.2", "ci", 4);
    all.check("172.17.0.2", &[(4 * SECOND, "unknown")]);
    // As long as nothing is told, the first.
    all.apply(begun(object(ObjectKind::Pod, "young", &[]), 2), 2);
    all.seen_in(9, "10.0.0.9", "young", 5);
    all.seen_in(10, "172.17.0.3", "young", 5);
    all.check("10.0.0.9", &[(5 * SECOND, "young")]);
    all.check("172.17.0.3", &[(5 * SECOND, "unknown")]);
    // Told of, without a connection from there: its namespace is not known.
    all.apply(pod("quiet", "10.0.0.10"), 6);
    all.seen_in(11, "172.17.0.4", "quiet", 7);
    all.check("172.17.0.4", &[(7 * SECOND, "unknown")]);
}

#[test]
fn what_a_pod_took_from_one_told_is_given_back() {
    for is_deleted in [true, false] {
        let mut all = Fixture::new();
        settled(&mut all, "victim", "10.0.0.5", 7);
        all.apply(object(ObjectKind::Pod, "evil", &[]), 2);
        // It may be the next one to have it, so it is believed until the API server tells more.
        all.seen_in(8, "10.0.0.5", "evil", 3);
        all.check(
            "10.0.0.5",
            &[(3 * SECOND - 1, "victim"), (3 * SECOND, "evil")],
        );
        if is_deleted {
            all.delete(ObjectKind::Pod, "evil", 4);
        } else {
            all.apply(pod("evil", "10.0.0.6"), 4);
        }
        all.check("10.0.0.5", &[(4 * SECOND, "victim")]);
    }
    // Or until who is told to have it uses it.
    let mut all = Fixture::new();
    settled(&mut all, "victim", "10.0.0.5", 7);
    all.apply(object(ObjectKind::Pod, "evil", &[]), 2);
    all.seen_in(8, "10.0.0.5", "evil", 3);
    all.seen_in(7, "10.0.0.5", "victim", 4);
    all.check("10.0.0.5", &[(3 * SECOND, "evil"), (4 * SECOND, "victim")]);
}

#[test]
fn what_is_remembered_of_the_past_is_bounded() {
    let mut all = Fixture::new();
    for name in ["a", "b"] {
        all.apply(object(ObjectKind::Pod, name, &[]), 1);
    }
    for second in 0..1_000 {
        all.seen("10.0.0.5", ["a", "b"][second % 2], 2 + second as u64);
    }
    assert!(all.0.ended.len() <= 32, "{}", all.0.ended.len());
    all.check("10.0.0.5", &[(1_001 * SECOND, "b")]);
}
