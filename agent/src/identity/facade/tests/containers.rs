//! Which container somebody is, and what stays when another takes its place.

use super::*;
use crate::identity::containers::Which;
use crate::identity::{ContainerInfo, Value};

/// A pod with a container that was started again from a newer image, or was not.
fn restarted(ids: &[&str], digest: &str) -> PodInfo {
    PodInfo {
        containers: vec![ContainerInfo {
            ids: ids.iter().map(|id| (*id).into()).collect(),
            image_digest: Some(digest.into()),
            ..container("app", C1)
        }],
        ..web(&[])
    }
}

#[test]
fn a_run_keeps_the_digest_it_was_started_from() {
    let mut all = Fixture::kubernetes();
    let (first, second) = (all.container(1, C1, 0), all.container(2, C2, 0));
    let digest_of = |all: &mut Fixture, owner: OwnerId| {
        let resource = all.ready(owner, 0);
        let attributes = resource.attributes.iter();
        let mut digests = attributes.filter(|(key, _)| &**key == "container.image.repo_digests");
        digests.next().map(|(_, value)| value.clone())
    };
    let list = |digest: &str| Some(Value::List([digest.into()].into()));
    all.apply(restarted(&[C1], "web@sha256:1"));
    assert_eq!(digest_of(&mut all, first), list("web@sha256:1"));
    let before = all.ready(first, 0);
    all.apply(restarted(&[C1, C2], "web@sha256:2"));
    assert_eq!(digest_of(&mut all, first), list("web@sha256:1"));
    assert_eq!(digest_of(&mut all, second), list("web@sha256:2"));
    assert!(Arc::ptr_eq(&before, &all.ready(first, 0)));
}

#[test]
fn the_digest_of_a_run_that_was_over_before_is_not_known() {
    let mut all = Fixture::kubernetes();
    let first = all.container(1, C1, 0);
    all.apply(restarted(&[C1, C2], "web@sha256:2"));
    let resource = all.ready(first, 0);
    let has = |key: &str| resource.attributes.iter().any(|(name, _)| &**name == key);
    assert!(has("k8s.container.name") && !has("container.image.repo_digests"));
}

#[test]
fn a_sandbox_is_told_from_a_container_by_what_it_does() {
    let mut all = Fixture::kubernetes();
    let (listed, other) = (all.container(1, C1, 0), all.container(2, C2, 0));
    let alone = all.cgroup(3, &format!("/docker/{}", "3".repeat(64)), 0);
    let host = all.cgroup(4, "/system.slice/a.service", 0);
    all.apply(web(&[("app", C1)]));
    let check = |owner: OwnerId, executable: Option<&str>, expected: bool| {
        let container = all.identity.container(owner).unwrap();
        assert_eq!(container.is_sandbox(executable), expected, "{container:?}");
    };
    check(other, Some("pause"), true);
    check(other, None, true);
    check(other, Some("app"), false);
    check(listed, Some("pause"), false);
    check(listed, None, false);
    check(alone, Some("pause"), false);
    assert!(all.identity.container(host).is_none());
    assert!(all.identity.container(OwnerId::NODE).is_none());
}

#[test]
fn which_container_it_is() {
    let mut all = Fixture::kubernetes();
    let (listed, other) = (all.container(1, C1, 0), all.container(2, C2, 0));
    all.apply(web(&[("app", C1)]));
    let which = |owner| all.identity.container(owner).unwrap().which();
    let named = Which::OfPod {
        uid: UID.into(),
        name: "app".into(),
    };
    assert_eq!(which(listed), named);
    assert_eq!(which(other), Which::Alone(C2.into()));
    // What is counted beyond its life is the pod's, once it is known to be in it.
    let pod = all.cgroup(5, &format!("/kubepods/burstable/pod{UID}"), 0);
    assert_eq!(all.identity.beyond_its_life(listed, 0), pod);
    assert_eq!(all.identity.beyond_its_life(other, 0), other);
}
