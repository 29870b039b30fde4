//! Whose a network namespace is.

use super::*;
use crate::identity::cgroup_path::CgroupOwner;

fn connected(all: &mut Fixture, owner: OwnerId, netns: u32) {
    let connection = Connection {
        netns,
        ..connection("10.0.0.1:80")
    };
    all.identity.seen(owner, &connection, 5);
}

#[test]
fn a_namespace_is_its_only_users() {
    let mut all = Fixture::kubernetes();
    all.identity.host_netns = Some(9);
    let pod = CgroupOwner::Pod { uid: UID.into() };
    // Containers of one pod share theirs.
    for (cgroup, id) in [(1, C1), (2, C2)] {
        let owner = all.container(cgroup, id, 0);
        connected(&mut all, owner, 1);
    }
    // A container without a pod, two that share, one with a service of the host, one in the host's.
    let path = |id: char| format!("/docker/{}", id.to_string().repeat(64));
    for (cgroup, path, netns) in [
        (3, path('3'), 2),
        (4, path('4'), 3),
        (5, path('5'), 3),
        (6, path('6'), 4),
        (7, "/system.slice/a.service".to_owned(), 4),
        (8, path('8'), 9),
    ] {
        let owner = all.cgroup(cgroup, &path, 0);
        connected(&mut all, owner, netns);
    }
    let users = all.identity.users_of_namespaces();
    let of = |netns: u32| users.get(&netns).cloned().flatten();
    assert_eq!(of(1), Some(pod.clone()));
    let alone = crate::identity::cgroup_path::parse(&path('3'));
    assert_eq!(of(2), Some(alone));
    assert_eq!([3, 9, 77].map(of), [None, None, None]);
    // A service of the host that entered it does not own it.
    let visited = crate::identity::cgroup_path::parse(&path('6'));
    assert_eq!(of(4), Some(visited));
    let owner = all.identity.owner_of(&pod, 6).unwrap();
    assert_eq!(all.identity.owner(owner).whose, Some(pod));

    // Where the host's is not known, it may be this one.
    all.identity.host_netns = None;
    assert_eq!(all.identity.users_of_namespaces()[&4], None);
    // The number of one that is gone is given to another.
    all.identity.cgroup_removed(3, 7);
    assert!(!all.identity.users_of_namespaces().contains_key(&2));
}

#[test]
fn the_hosts_namespace_is_not_that_of_a_pod_in_it() {
    let mut all = Fixture::kubernetes();
    let owner = all.container(1, C1, 0);
    all.apply(PodInfo {
        host_network: true,
        ..web(&[("app", C1)])
    });
    connected(&mut all, owner, 1);
    assert_eq!(all.identity.users_of_namespaces()[&1], None);
}
