use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::identity::cluster::{Address, ClusterObject};
use crate::identity::{IdentitySettings, Workload};

const SECOND: u64 = 1_000_000_000;

fn ends() -> FarEnds {
    FarEnds::new(&IdentitySettings {
        kubernetes: true,
        cluster: true,
        ..IdentitySettings::default()
    })
}

fn at(seconds: u64) -> Moment {
    Moment {
        boot: seconds * SECOND,
        unix: (1_000_000 + seconds) * SECOND,
    }
}

fn end(address: &str, seconds: u64) -> FarEnd {
    FarEnd::new(address.parse().unwrap(), seconds * SECOND)
}

fn apply(ends: &mut FarEnds, kind: ObjectKind, name: &str, address: &str, seconds: u64) {
    let (ip, port) = match address.parse::<SocketAddr>() {
        Ok(address) => (address.ip(), Some(address.port())),
        Err(_) => (address.parse::<IpAddr>().unwrap(), None),
    };
    let object = ClusterObject {
        kind,
        uid: name.into(),
        name: Arc::new(Workload {
            namespace: "shop".into(),
            name: name.into(),
            kind: format!("{kind:?}").into(),
        }),
        addresses: vec![Address { ip, port }],
        since: None,
        finished: false,
    };
    let update = ClusterUpdate::Applied(Box::new(object));
    assert_eq!(ends.apply(update, Source::Cluster, at(seconds)), 0);
}

fn delete(ends: &mut FarEnds, name: &str, seconds: u64) {
    let update = ClusterUpdate::Deleted {
        kind: ObjectKind::Pod,
        uid: name.into(),
    };
    ends.apply(update, Source::Cluster, at(seconds));
}

fn called(ends: &mut FarEnds, address: &str, seconds: u64, backend: Option<&str>) -> String {
    let backend = backend.map(|address| address.parse().unwrap());
    match ends.peer(&end(address, seconds), backend) {
        Peer::Workload(workload) => format!("{} {}", workload.kind, workload.name),
        Peer::Service { service, backend } => {
            let backend = backend.map_or_else(|| "?".into(), |backend| backend.name.to_string());
            format!("{} -> {backend}", service.name)
        }
        Peer::Address(name) => name.to_string(),
    }
}

/// Everything is listed, and there is nothing.
fn list(ends: &mut FarEnds) {
    for (source, kind) in std::mem::take(&mut ends.unlisted) {
        let objects = Vec::new();
        ends.apply(ClusterUpdate::Restarted { kind, objects }, source, at(0));
    }
}

#[test]
fn until_everything_is_listed_any_address_may_be_somebodys() {
    let mut ends = ends();
    assert_eq!(ends.unlisted.len(), 5);
    assert!(ends.awaits(&end("198.51.100.1:443", 1), SECOND));
    assert!(!ends.awaits(&end("127.0.0.1:443", 1), SECOND));
    list(&mut ends);
    assert!(ends.unlisted.is_empty());
    assert!(!ends.awaits(&end("198.51.100.1:443", 1), SECOND));
}

#[test]
fn every_kind_has_its_name() {
    let mut ends = ends();
    apply(&mut ends, ObjectKind::Pod, "web", "10.0.0.1", 1);
    apply(&mut ends, ObjectKind::Service, "cart", "10.96.0.7", 1);
    apply(
        &mut ends,
        ObjectKind::Endpoints,
        "kubernetes",
        "192.0.2.1:6443",
        1,
    );
    apply(&mut ends, ObjectKind::Node, "node-1", "192.0.2.1", 1);
    let mut check = |address: &str, backend: Option<&str>, expected: &str| {
        assert_eq!(
            called(&mut ends, address, 2, backend),
            expected,
            "{address}"
        );
    };
    check("10.0.0.1:80", None, "Pod web");
    check("[::ffff:10.0.0.1]:80", None, "Pod web");
    check("10.96.0.7:80", None, "cart -> ?");
    check("10.96.0.7:80", Some("10.0.0.1:8080"), "cart -> web");
    check("10.96.0.7:80", Some("198.51.100.1:8080"), "cart -> ?");
    check("192.0.2.1:6443", None, "kubernetes -> ?");
    check("192.0.2.1:10250", None, "Node node-1");
    check("198.51.100.1:443", None, "external");
    check("127.0.0.1:443", None, "localhost");
}

#[test]
fn a_services_port_at_every_node_is_its_own() {
    let mut ends = ends();
    list(&mut ends);
    ends.host_addresses_changed(["10.244.0.1".parse().unwrap()].into());
    let shown = |port| Address::at_nodes(port).ip.to_string();
    apply(&mut ends, ObjectKind::Service, "cart", &shown(30_080), 1);
    apply(&mut ends, ObjectKind::Node, "node-1", "192.0.2.1", 1);
    apply(&mut ends, ObjectKind::Pod, "web", "10.0.0.1", 1);
    let mut check = |address: &str, backend: Option<&str>, expected: &str| {
        assert_eq!(
            called(&mut ends, address, 2, backend),
            expected,
            "{address}"
        );
    };
    check("192.0.2.1:30080", None, "cart -> ?");
    check("192.0.2.1:30080", Some("10.0.0.1:8080"), "cart -> web");
    check("192.0.2.1:30081", None, "Node node-1");
    // An address of this node that nobody told of.
    check("10.244.0.1:30080", None, "cart -> ?");
    check("10.0.0.1:30080", None, "Pod web");
    check("198.51.100.1:30080", None, "external");
    assert!(ends.is_service(&end("192.0.2.1:30080", 2)));
    // Whoever connects may do so from any port.
    let remote = "192.0.2.1:30080".parse().unwrap();
    for (role, expected) in [(Role::Source, true), (Role::Destination, false)] {
        let connection = Connection {
            role: Some(role),
            remote,
            ..Connection::like("192.0.2.2".parse().unwrap(), 0, 80)
        };
        let end = FarEnd::of(&connection, 2 * SECOND);
        assert_eq!(ends.is_service(&end), expected, "{role:?}");
    }
}

#[test]
fn news_of_addresses_near_pods_are_worth_waiting_for() {
    let mut ends = ends();
    list(&mut ends);
    let waits = |ends: &mut FarEnds, address: &str, asked: u64, now: u64| {
        ends.awaits(&end(address, asked), now * SECOND)
    };
    assert!(!waits(&mut ends, "10.0.0.2:80", 1, 1));
    apply(&mut ends, ObjectKind::Pod, "web", "10.0.0.1", 1);
    assert!(!waits(&mut ends, "10.0.0.1:80", 2, 2));
    assert!(!waits(&mut ends, "10.0.1.2:80", 2, 2));
    assert!(waits(&mut ends, "10.0.0.2:80", 2, 2));
    assert!(waits(&mut ends, "10.0.0.2:80", 3, 6));
    // In vain.
    assert!(!waits(&mut ends, "10.0.0.2:80", 3, 7));
    assert!(!waits(&mut ends, "10.0.0.2:80", 8, 8));
    ends.expire(603 * SECOND);
    assert!(waits(&mut ends, "10.0.0.2:80", 604, 604));
    apply(&mut ends, ObjectKind::Pod, "new", "10.0.0.2", 605);
    assert!(!waits(&mut ends, "10.0.0.2:80", 604, 605));
    assert_eq!(called(&mut ends, "10.0.0.2:80", 604, None), "Pod new");
}

#[test]
fn the_next_holder_of_an_address_is_worth_waiting_for() {
    let mut ends = ends();
    list(&mut ends);
    apply(&mut ends, ObjectKind::Pod, "a", "10.0.0.1", 1);
    for round in 1..4 {
        let ended = 10 * round;
        delete(&mut ends, if round == 1 { "a" } else { "b" }, ended);
        assert!(!ends.awaits(&end("10.0.0.1:80", ended - 1), ended * SECOND));
        assert!(
            ends.awaits(&end("10.0.0.1:80", ended), ended * SECOND),
            "{round}"
        );
        assert!(!ends.awaits(&end("10.0.0.1:80", ended), (ended + 5) * SECOND));
        apply(&mut ends, ObjectKind::Pod, "b", "10.0.0.1", ended + 6);
    }
}

#[test]
fn holders_are_told_apart() {
    let mut ends = ends();
    apply(&mut ends, ObjectKind::Pod, "a", "10.0.0.1", 1);
    delete(&mut ends, "a", 10);
    apply(&mut ends, ObjectKind::Pod, "b", "10.0.0.1", 11);
    let held = |address, seconds| ends.key(&end(address, seconds), None).held;
    let since = |seconds| held("10.0.0.1:80", seconds).map(|(_, since)| since);
    assert_eq!((since(9), since(10)), (Some(0), Some(10 * SECOND)));
    assert_eq!(held("10.0.0.9:80", 10), None);
}

#[test]
fn only_a_services_own_address_leads_elsewhere() {
    let mut ends = ends();
    apply(&mut ends, ObjectKind::Service, "cart", "10.96.0.7", 1);
    apply(
        &mut ends,
        ObjectKind::Endpoints,
        "kubernetes",
        "192.0.2.1:6443",
        1,
    );
    assert!(ends.is_service(&end("10.96.0.7:80", 2)));
    assert!(!ends.is_service(&end("192.0.2.1:6443", 2)));
    assert!(!ends.is_service(&end("10.0.0.1:80", 2)));
}

#[test]
fn an_address_of_the_hosts_own_is_the_nodes_unless_somebody_in_the_cluster_has_it() {
    let mut ends = FarEnds::new(&IdentitySettings {
        kubernetes: true,
        node_name: "node-a".into(),
        ..IdentitySettings::default()
    });
    apply(&mut ends, ObjectKind::Pod, "web", "10.244.0.7", 1);
    let bridge = end("10.244.0.1:80", 2);
    assert!(ends.awaits(&bridge, 2 * SECOND), "it may be a pod's");
    let own = ["10.244.0.1", "10.244.0.7"].map(|address| address.parse().unwrap());
    ends.host_addresses_changed(own.into());
    assert!(!ends.awaits(&bridge, 2 * SECOND));
    assert_eq!(called(&mut ends, "10.244.0.1:80", 2, None), "Node node-a");
    assert_eq!(called(&mut ends, "10.244.0.7:80", 2, None), "Pod web");
    ends.host_addresses_changed(BTreeSet::new());
    assert_eq!(called(&mut ends, "10.244.0.1:80", 2, None), "external");

    let mut alone = FarEnds::new(&IdentitySettings {
        node_name: "node-a".into(),
        ..IdentitySettings::default()
    });
    alone.host_addresses_changed(own.into());
    assert_eq!(called(&mut alone, "10.244.0.1:80", 2, None), "node-a");
}
