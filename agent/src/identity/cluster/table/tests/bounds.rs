//! What has room.

use std::net::Ipv4Addr;

use super::*;

#[test]
fn there_is_no_room_for_more_than_the_capacity() {
    let mut table = ClusterTable::new(2, 0);
    let turned_away = [1, 2, 3, 1].map(|number| {
        let one = pod(&number.to_string(), &format!("10.0.0.{number}"));
        table.apply(
            ClusterUpdate::Applied(Box::new(one)),
            Source::Cluster,
            at(1),
        )
    });
    assert_eq!(turned_away, [0, 0, 1, 0]);
    assert_eq!(table.len(), 2);
}

fn numbered(kind: ObjectKind, first: u32, count: u32) -> ClusterObject {
    let addresses = (first..first + count).map(|bits| {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(bits));
        Address::any_port(ip)
    });
    ClusterObject {
        addresses: addresses.collect(),
        ..object(kind, &format!("{kind:?}-{first}"), &[])
    }
}

fn apply(table: &mut ClusterTable, object: ClusterObject, source: Source) -> u64 {
    table.apply(ClusterUpdate::Applied(Box::new(object)), source, at(1))
}

#[test]
fn an_object_has_so_many_addresses() {
    let mut table = ClusterTable::new(10_000, 0);
    for (kind, first) in ObjectKind::ALL.into_iter().zip([0, 10_000, 20_000, 30_000]) {
        let most = u32::try_from(kind.most_addresses()).unwrap();
        for (count, cut) in [(most, 0), (most + 7, 7), (most + 7, 0)] {
            apply(&mut table, numbered(kind, first, count), Source::Cluster);
            assert_eq!(table.take_cut(), cut, "{kind:?} {count}");
        }
    }
    assert_eq!(table.by_ip.len(), 2 * (64 + 1_024));
}

#[test]
fn all_together_have_so_many_addresses() {
    let mut table = ClusterTable::new(1_000, 0);
    let services = (0..4).map(|number| numbered(ObjectKind::Service, number * 1_000, 1_000));
    for service in services {
        assert_eq!(apply(&mut table, service, Source::Cluster), 0);
    }
    assert_eq!((table.addresses, table.take_cut()), (1_938, 2_062));
    // This node's own pods are not left without.
    apply(
        &mut table,
        numbered(ObjectKind::Pod, 9_000, 2),
        Source::Node,
    );
    assert_eq!((table.addresses, table.take_cut()), (1_940, 0));
    let gone = ClusterUpdate::Deleted {
        kind: ObjectKind::Service,
        uid: "uid-Service-0".into(),
    };
    table.apply(gone, Source::Cluster, at(2));
    assert_eq!(table.addresses, 940);
}

#[test]
fn an_address_has_so_many_holders_and_none_makes_room_while_it_has_it() {
    let mut all = Fixture(ClusterTable::new(1_000, 60 * SECOND));
    all.apply(object(ObjectKind::Node, "node", &[("192.0.2.1", None)]), 1);
    for port in 1..100 {
        let name = format!("service-{port}");
        let service = object(ObjectKind::Service, &name, &[("192.0.2.1", Some(port))]);
        all.apply(service, 1);
    }
    let holders = [1, 63, 64, 10_250].map(|port| all.who("192.0.2.1", port, 2 * SECOND));
    assert_eq!(holders, ["service-1", "service-63", "node", "node"]);
    assert_eq!(all.0.take_cut(), 36);
    // Who had it does.
    all.delete(ObjectKind::Service, "service-1", 3);
    all.apply(
        object(ObjectKind::Service, "next", &[("192.0.2.1", Some(200))]),
        4,
    );
    assert_eq!(all.who("192.0.2.1", 200, 5 * SECOND), "next");
}

#[test]
fn pods_of_other_nodes_leave_room_for_all_else() {
    let mut table = ClusterTable::new(64, 0);
    let pods = (0..100).map(|number| numbered(ObjectKind::Pod, number, 1));
    let turned_away: u64 = pods
        .map(|pod| apply(&mut table, pod, Source::Cluster))
        .sum();
    assert_eq!((turned_away, table.len()), (44, 56));
    for kind in [ObjectKind::Service, ObjectKind::Endpoints, ObjectKind::Node] {
        assert_eq!(
            apply(&mut table, numbered(kind, 1_000, 1), Source::Cluster),
            0
        );
    }
    let services = (2_000..2_010).map(|number| numbered(ObjectKind::Service, number, 1));
    let turned_away: u64 = services
        .map(|service| apply(&mut table, service, Source::Cluster))
        .sum();
    assert_eq!((turned_away, table.len()), (7, 62));
    let own = numbered(ObjectKind::Pod, 9_000, 1);
    assert_eq!(apply(&mut table, own, Source::Node), 0);
}

/// The memory budget counts on these, on a box for each list, and on the room that hash tables keep: measured, 314 bytes for an object with
/// one address, 489 for one with two.
#[test]
fn an_object_takes_no_more_memory_than_the_budget_says() {
    assert!(size_of::<(ObjectId, Object)>() <= 96);
    assert!(size_of::<(IpAddr, Claims)>() <= 48);
    assert!(size_of::<Claim>() <= 80);
    let mut all = Fixture::new();
    all.apply(pod("a", "10.0.0.1"), 1);
    assert_eq!(all.0.by_ip[&ip("10.0.0.1")].capacity(), 1);
}
