mod containers;
mod namespaces;
mod reconfigured;

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::{Identity, IdentitySizes};
use crate::counters::{Counters, Discard};
use crate::events::Connection;
use crate::identity::cluster::Moment;
use crate::identity::pod_info::PodInfo;
use crate::identity::scan::{Scanned, scan};
use crate::identity::testing::{container, owned, pod};
use crate::identity::{
    FarEnd, IdentityLimits, IdentitySettings, OwnerId, Peer, PodUpdate, Resolution, Resource,
};

const C1: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const C2: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const UID: &str = "8f4f4a46-7f54-4f0c-a3e1-5b8e0d6d4b1e";
const WAIT: u64 = 30;

fn moment(boot: u64) -> Moment {
    Moment { boot, unix: boot }
}

struct Fixture {
    identity: Identity,
    counters: Arc<Counters>,
}

fn fixture(kubernetes: bool, limits: IdentityLimits) -> Fixture {
    let counters = Arc::new(Counters::default());
    let settings = IdentitySettings {
        node_name: "node-a".into(),
        kubernetes,
        limits: IdentityLimits {
            pod_wait: WAIT,
            cgroup_linger: 100,
            pod_linger: 100,
            ..limits
        },
        ..IdentitySettings::default()
    };
    Fixture {
        identity: Identity::new(&settings, Arc::clone(&counters)),
        counters,
    }
}

impl Fixture {
    fn kubernetes() -> Self {
        fixture(true, IdentityLimits::default())
    }

    fn cgroup(&mut self, id: u64, path: &str, now: u64) -> OwnerId {
        self.identity.cgroup_created(id, path, now);
        self.identity.owner_of_cgroup(id).unwrap()
    }

    fn container(&mut self, cgroup: u64, id: &str, now: u64) -> OwnerId {
        self.cgroup(cgroup, &format!("/kubepods/burstable/pod{UID}/{id}"), now)
    }

    fn apply(&mut self, pod: PodInfo) {
        self.identity
            .apply(PodUpdate::Applied(Box::new(pod)), moment(0));
    }

    fn ready(&mut self, owner: OwnerId, now: u64) -> Arc<Resource> {
        match self.identity.resolve(owner, now) {
            Resolution::Ready(resource) => resource,
            Resolution::Pending => panic!("not ready at {now}"),
        }
    }

    #[track_caller]
    fn check_label(&mut self, owner: OwnerId, label: &str, expected: Option<&str>) {
        let resource = self.ready(owner, 0);
        let found = resource.labels.iter().find(|(key, _)| *key == label);
        assert_eq!(found.map(|(_, value)| &**value), expected, "{label}");
    }
}

fn web(containers: &[(&str, &str)]) -> PodInfo {
    PodInfo {
        uid: UID.into(),
        containers: containers
            .iter()
            .map(|(name, id)| container(name, id))
            .collect(),
        ..owned(pod("shop", "web-0"), &[("StatefulSet", "web")])
    }
}

fn attribute<'a>(resource: &'a Resource, key: &str) -> Option<&'a str> {
    let found = resource.attributes.iter().find(|(name, _)| &**name == key);
    found.and_then(|(_, value)| value.as_str())
}

#[test]
fn a_container_waits_for_its_pod() {
    let mut all = Fixture::kubernetes();
    let owner = all.container(7, C1, 100);
    assert_eq!(
        all.identity.resolve(owner, 100 + WAIT - 1),
        Resolution::Pending
    );
    assert_eq!(all.identity.workload(owner), None);

    all.apply(web(&[("app", C1)]));
    let resource = all.ready(owner, 100);
    assert_eq!(attribute(&resource, "k8s.pod.name"), Some("web-0"));
    assert_eq!(attribute(&resource, "k8s.container.name"), Some("app"));
    assert_eq!(attribute(&resource, "container.id"), Some(C1));
    assert_eq!(
        all.identity
            .workload(owner)
            .map(|workload| workload.name.to_string())
            .as_deref(),
        Some("web")
    );
}

#[test]
fn how_long_it_waited_is_known_of_containers_seen_from_the_start() {
    let mut all = Fixture::kubernetes();
    let path = |id: &str| format!("/kubepods/burstable/pod{UID}/{id}");
    let found = Scanned {
        cgroups: vec![(7, path(C1))],
        complete: true,
    };
    all.identity.cgroups_scanned(&found, 100, 100);
    all.container(8, C2, 200);
    // One that it makes for itself is no new container.
    all.cgroup(9, &format!("{}/inner", path(C2)), 250);
    let mut named = |containers: &[(&str, &str)], now| {
        let update = PodUpdate::Applied(Box::new(web(containers)));
        let lags = all.identity.apply(update, moment(now));
        lags.iter().map(Duration::as_nanos).collect::<Vec<_>>()
    };
    assert_eq!(named(&[("app", C1)], 300), []);
    assert_eq!(named(&[("app", C1), ("late", C2)], 350), [150]);
}

#[test]
fn the_wait_ends() {
    let mut all = Fixture::kubernetes();
    let owner = all.container(7, C1, 100);
    let resource = all.ready(owner, 100 + WAIT);
    assert_eq!(attribute(&resource, "k8s.pod.uid"), Some(UID));
    assert_eq!(attribute(&resource, "container.id"), Some(C1));
    assert_eq!(attribute(&resource, "k8s.pod.name"), None);
    // Better late than never.
    all.apply(web(&[("app", C1)]));
    assert_eq!(
        attribute(&all.ready(owner, 200), "k8s.pod.name"),
        Some("web-0")
    );
}

#[test]
fn a_container_the_pod_does_not_list_yet_waits_too() {
    let mut all = Fixture::kubernetes();
    all.apply(web(&[("app", C1)]));
    let owner = all.container(7, C2, 0);
    assert_eq!(all.identity.resolve(owner, WAIT - 1), Resolution::Pending);
    let sandbox = all.ready(owner, WAIT);
    assert_eq!(attribute(&sandbox, "k8s.pod.name"), Some("web-0"));
    assert_eq!(attribute(&sandbox, "k8s.container.name"), None);
    all.apply(web(&[("app", C1), ("late", C2)]));
    assert_eq!(
        attribute(&all.ready(owner, WAIT), "k8s.container.name"),
        Some("late")
    );
}

#[test]
fn without_kubernetes_nothing_waits() {
    let mut all = fixture(false, IdentityLimits::default());
    let owner = all.container(7, C1, 0);
    let resource = all.ready(owner, 0);
    assert_eq!(attribute(&resource, "k8s.pod.uid"), Some(UID));
    assert_eq!(attribute(&resource, "container.id"), Some(C1));
    all.check_label(owner, "container_id", Some(C1));
}

#[test]
fn what_is_no_pods_never_waits() {
    let mut all = Fixture::kubernetes();
    let docker = all.cgroup(1, &format!("/docker/{C1}"), 0);
    let ssh = all.cgroup(2, "/system.slice/ssh.service", 0);
    all.check_label(docker, "container_id", Some(C1));
    all.check_label(ssh, "service_name", Some("ssh"));
    assert_eq!(all.ready(OwnerId::NODE, 0), all.identity.node_resource());
    assert_eq!(
        attribute(&all.identity.node_resource(), "k8s.node.name"),
        Some("node-a")
    );
}

#[test]
fn a_container_is_found_by_id_where_its_path_names_no_pod() {
    let mut all = Fixture::kubernetes();
    let owner = all.cgroup(1, &format!("/k8s.io/{C1}"), 0);
    all.apply(web(&[("app", C1)]));
    all.check_label(owner, "k8s_pod_name", Some("web-0"));
    all.check_label(owner, "container_id", None);
}

#[test]
fn a_resource_stays_the_same_object_until_it_changes() {
    let mut all = Fixture::kubernetes();
    let owner = all.container(7, C1, 0);
    all.apply(web(&[("app", C1)]));
    let first = all.ready(owner, 0);
    assert!(Arc::ptr_eq(&first, &all.ready(owner, 0)));
    // A new object that says the same of this container.
    all.apply(web(&[("app", C1), ("other", C2)]));
    assert!(Arc::ptr_eq(&first, &all.ready(owner, 0)));
    all.apply(PodInfo {
        node_name: Some("node-b".into()),
        ..web(&[("app", C1)])
    });
    let changed = all.ready(owner, 0);
    assert_eq!(attribute(&changed, "k8s.node.name"), Some("node-b"));
}

#[test]
fn a_label_that_changes_changes_the_resource() {
    const KEY: &str = "k8s.pod.label.team";
    let mut all = Fixture::kubernetes();
    let owner = all.container(7, C1, 0);
    let labelled = |team: &str| PodInfo {
        metadata_attributes: vec![(KEY.into(), team.into())],
        ..web(&[("app", C1)])
    };
    all.apply(labelled("shop"));
    let first = all.ready(owner, 0);
    assert_eq!(attribute(&first, KEY), Some("shop"));
    all.apply(labelled("shop"));
    assert!(Arc::ptr_eq(&first, &all.ready(owner, 0)));
    all.apply(labelled("cart"));
    assert_eq!(attribute(&all.ready(owner, 0), KEY), Some("cart"));
    all.apply(web(&[("app", C1)]));
    assert_eq!(attribute(&all.ready(owner, 0), KEY), None);
    // Its samples are labelled as before.
    assert_eq!(first.labels, all.ready(owner, 0).labels);
}

#[test]
fn what_is_told_of_a_container_keeps_its_name_when_its_pod_is_forgotten() {
    let mut all = Fixture::kubernetes();
    all.apply(web(&[("app", C1)]));
    let owner = all.container(7, C1, 0);
    all.identity.cgroup_removed(7, 10);
    all.identity
        .apply(PodUpdate::Deleted { uid: UID.into() }, moment(10));
    all.identity.expire(109);
    assert_eq!(all.identity.owner_of_cgroup(7), Some(owner));
    assert_eq!(
        attribute(&all.ready(owner, 109), "k8s.container.name"),
        Some("app")
    );
    all.identity.expire(110);
    assert_eq!(all.identity.owner_of_cgroup(7), None);
    // Its counters are exported for longer than that.
    assert_eq!(
        attribute(&all.ready(owner, 110), "k8s.container.name"),
        Some("app")
    );
}

#[test]
fn a_container_its_pod_lists_no_more_keeps_its_name() {
    let mut all = Fixture::kubernetes();
    all.apply(web(&[("app", C1)]));
    let first = all.container(7, C1, 0);
    let named = all.ready(first, 0);
    for id in [C2, "3333", "4444"] {
        all.apply(web(&[("app", id)]));
    }
    assert!(Arc::ptr_eq(&all.ready(first, 1), &named));
    all.check_label(first, "k8s_container_name", Some("app"));
}

#[test]
fn handles_are_freed_when_nobody_needs_them() {
    let mut all = Fixture::kubernetes();
    let kept = all.cgroup(1, "/a.slice", 0);
    let gone = all.cgroup(2, "/b.slice", 0);
    let in_series = all.cgroup(3, "/c.slice", 0);
    let before = all.ready(gone, 0);
    for id in [2, 3] {
        all.identity.cgroup_removed(id, 0);
    }
    all.identity.retain_owners(|id| id == in_series, 0);
    assert_eq!(
        all.identity.sizes().owners,
        3,
        "the tombstones still refer to them"
    );
    all.identity.expire(100);
    all.identity.retain_owners(|id| id == in_series, 0);
    assert_eq!(
        all.identity.sizes(),
        IdentitySizes {
            cgroups: 1,
            owners: 2,
            pods: 0,
            cluster_objects: 0,
        }
    );
    let reused = all.cgroup(4, "/d.slice", 200);
    assert_eq!(reused, gone);
    assert_ne!(all.ready(reused, 200), before);
    assert!(
        all.identity.owner(kept).whose.is_some() && all.identity.owner(in_series).whose.is_some()
    );
}

#[test]
fn a_scan_adds_and_removes() {
    const GONE: u64 = u64::MAX;
    const YOUNG: u64 = u64::MAX - 1;
    for (limit, expected) in [(10, [true, false, true]), (3, [true, true, true])] {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("new.slice/a.service")).unwrap();
        let new = std::fs::metadata(root.path().join("new.slice/a.service"))
            .unwrap()
            .ino();

        let mut all = Fixture::kubernetes();
        all.cgroup(GONE, "/b.slice", 0);
        all.cgroup(YOUNG, "/young.slice", 6);
        let scan = scan(root.path(), limit).unwrap();
        all.identity.cgroups_scanned(&scan.finish(), 5, 10);
        all.identity.expire(110);
        let known = [new, GONE, YOUNG].map(|id| all.identity.owner_of_cgroup(id).is_some());
        assert_eq!(known, expected, "limit {limit}");
    }
}

#[test]
fn full_tables_are_counted() {
    let mut all = fixture(
        true,
        IdentityLimits {
            cgroups: 2,
            owners: 1,
            pods: 1,
            ..IdentityLimits::default()
        },
    );
    let full = |all: &Fixture| all.counters.discards(Discard::IdentityTableFull);
    all.cgroup(1, "/a.slice", 0);
    assert_eq!(full(&all), 0);
    assert_eq!(all.cgroup(2, "/b.slice", 0), OwnerId::NODE);
    assert_eq!(full(&all), 1);
    all.cgroup(3, "/a.slice", 0);
    assert_eq!((full(&all), all.identity.owner_of_cgroup(1)), (2, None));
    all.apply(pod("ns", "a"));
    all.apply(pod("ns", "b"));
    assert_eq!(full(&all), 3);
}

#[test]
fn who_found_no_room_gets_it_when_there_is_some() {
    let limits = IdentityLimits {
        owners: 1,
        ..IdentityLimits::default()
    };
    let mut all = fixture(false, limits);
    let first = all.cgroup(1, "/a.slice", 0);
    for (id, path) in [(2, "/b.slice"), (3, "/c.slice")] {
        assert_eq!(all.cgroup(id, path, 0), OwnerId::NODE);
    }
    all.identity.retain_owners(|_| false, 1);
    assert_eq!(all.identity.owner_of_cgroup(2), Some(OwnerId::NODE));
    // The third is gone by the time there is room.
    for id in [1, 3] {
        all.identity.cgroup_removed(id, 1);
    }
    all.identity.expire(101);
    all.identity.retain_owners(|_| false, 101);
    assert_eq!(all.identity.owner_of_cgroup(2), Some(first));
    let slice = all.identity.owner(first).whose.clone();
    assert_eq!(slice, Some(crate::identity::cgroup_path::parse("/b.slice")));
    assert!(all.identity.homeless.is_empty());
}

#[test]
fn a_pod_has_the_addresses_its_own_connections_come_from() {
    let mut all = Fixture::kubernetes();
    let owner = all.container(1, C1, 0);
    all.apply(web(&[("app", C1)]));
    let end = |at| FarEnd::new("10.0.0.1:80".parse().unwrap(), at);
    let is_web = |all: &mut Fixture, at| matches!(all.identity.peer(&end(at), None), Peer::Workload(workload) if &*workload.name == "web");
    assert!(!is_web(&mut all, 5));
    all.identity
        .seen(owner, &connection("[::ffff:10.0.0.1]:80"), 5);
    assert!(!is_web(&mut all, 4) && is_web(&mut all, 5));
    // The node's addresses are not the pod's.
    let mut all = Fixture::kubernetes();
    let owner = all.container(1, C1, 0);
    all.apply(PodInfo {
        host_network: true,
        ips: vec!["10.0.0.1".parse().unwrap()],
        ..web(&[("app", C1)])
    });
    all.identity.seen(owner, &connection("10.0.0.1:80"), 5);
    assert!(!is_web(&mut all, 5));
}

#[test]
fn no_pod_has_what_is_every_machines_or_the_hosts() {
    let mut all = Fixture::kubernetes();
    let owner = all.container(1, C1, 0);
    all.apply(web(&[("app", C1)]));
    all.identity
        .host_addresses_changed(["192.0.2.1".parse().unwrap()].into());
    for local in [
        "127.0.0.1:80",
        "[::1]:80",
        "0.0.0.0:80",
        "169.254.1.1:80",
        "[fe80::1]:80",
        "224.0.0.1:80",
        "[ff02::1]:80",
        "255.255.255.255:80",
        "192.0.2.1:80",
    ] {
        all.identity.seen(owner, &connection(local), 5);
        let end = FarEnd::new(local.parse().unwrap(), 6);
        let peer = all.identity.peer(&end, None);
        let is_web = matches!(&peer, Peer::Workload(workload) if &*workload.name == "web");
        assert!(!is_web, "{local}: {peer:?}");
    }
}

fn connection(local: &str) -> Connection {
    Connection {
        socket_id: 1,
        netns: 1,
        local: local.parse().unwrap(),
        remote: "192.0.2.9:1".parse().unwrap(),
        role: None,
        owner: None,
        started_ns: None,
        established_ns: None,
        older_than_agent: false,
        unmet: false,
        open_lost: false,
        shut_down: false,
    }
}
