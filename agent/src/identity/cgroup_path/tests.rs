use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{CgroupOwner, Runtime, parse};

/// A container's id.
const C: &str = "4b1b1a0f5b5d6dbd5d5b8bd0b5d3b8b1f1b5a8a7c9d0e1f2a3b4c5d6e7f80912";
/// The id of a container around it: a kind node, a pod's container that runs Docker.
const OUTER: &str = "0011223344556677889900aabbccddeeff00112233445566778899aabbccddee";
const UID: &str = "8f4f4a46-7f54-4f0c-a3e1-5b8e0d6d4b1e";
const UID_: &str = "8f4f4a46_7f54_4f0c_a3e1_5b8e0d6d4b1e";
const HASH: &str = "09a70ae9ccc491e651e5c773579b3490";

fn expand(path: &str) -> String {
    path.replace("<c>", C)
        .replace("<outer>", OUTER)
        .replace("<uid>", UID)
        .replace("<uid_>", UID_)
        .replace("<hash>", HASH)
}

fn check(path: &str, expected: &CgroupOwner) {
    assert_eq!(&parse(&expand(path)), expected, "{path}");
}

fn check_pod_container(path: &str, runtime: Runtime) {
    check(
        path,
        &CgroupOwner::Container {
            id: C.into(),
            runtime,
            pod_uid: Some(UID.into()),
        },
    );
}

fn check_container(path: &str, id: &str, runtime: Runtime) {
    check(
        path,
        &CgroupOwner::Container {
            id: id.into(),
            runtime,
            pod_uid: None,
        },
    );
}

fn check_host(path: &str, slice: &str, unit: Option<&str>) {
    check(
        path,
        &CgroupOwner::Host {
            slice: slice.into(),
            unit: unit.map(Into::into),
        },
    );
}

#[test]
fn kubelet_with_the_systemd_driver() {
    for (path, runtime) in [
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<c>.scope",
            Runtime::Containerd,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<uid_>.slice/crio-<c>.scope",
            Runtime::Crio,
        ),
        (
            "/kubepods.slice/kubepods-pod<uid_>.slice/crio-<c>.scope",
            Runtime::Crio,
        ),
        (
            "/kubepods.slice/kubepods-pod<uid_>.slice/crio-<c>.scope/container",
            Runtime::Crio,
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/docker-<c>.scope",
            Runtime::Docker,
        ),
        // Bottlerocket and AKS keep their daemons elsewhere, their pods here.
        (
            "/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<c>.scope",
            Runtime::Containerd,
        ),
    ] {
        check_pod_container(path, runtime);
    }
}

#[test]
fn kubelet_with_the_cgroupfs_driver() {
    for (path, runtime) in [
        ("/kubepods/burstable/pod<uid>/<c>", Runtime::Unknown),
        ("/kubepods/besteffort/pod<uid>/<c>", Runtime::Unknown),
        ("/kubepods/pod<uid>/<c>", Runtime::Unknown),
        ("/kubepods/besteffort/pod<uid>/crio-<c>", Runtime::Crio),
    ] {
        check_pod_container(path, runtime);
    }
}

#[test]
fn kubelet_and_runtime_with_different_drivers() {
    for parent in ["system.slice", "podruntime.slice"] {
        for qos in ["-burstable", "-besteffort", ""] {
            check_pod_container(
                &format!(
                    "/{parent}/containerd.service/kubepods{qos}-pod<uid_>.slice:cri-containerd:<c>"
                ),
                Runtime::Containerd,
            );
        }
    }
}

#[test]
fn static_pods_keep_the_hash() {
    let expected = CgroupOwner::Container {
        id: C.into(),
        runtime: Runtime::Containerd,
        pod_uid: Some(HASH.into()),
    };
    check(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<hash>.slice/cri-containerd-<c>.scope",
        &expected,
    );
    let expected = CgroupOwner::Container {
        id: C.into(),
        runtime: Runtime::Unknown,
        pod_uid: Some(HASH.into()),
    };
    check("/kubepods/burstable/pod<hash>/<c>", &expected);
}

#[test]
fn the_deepest_container_wins() {
    let kubelet = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod<uid_>.slice/cri-containerd-<c>.scope";
    for (path, runtime) in [
        // kind from the host, from inside the node, and as it used to be
        (format!("/system.slice/docker-<outer>.scope/{kubelet}"), Runtime::Containerd),
        (format!("/{kubelet}"), Runtime::Containerd),
        (format!("/docker/<outer>/{kubelet}"), Runtime::Containerd),
        ("/system.slice/docker-<outer>.scope/kubelet/kubepods/burstable/pod<uid>/<c>".into(), Runtime::Unknown),
        // minikube
        ("/system.slice/docker-<outer>.scope/kubepods.slice/kubepods-pod<uid_>.slice/docker-<c>.scope".into(), Runtime::Docker),
        // Docker in a pod
        ("/kubepods/pod<uid>/<outer>/docker/<c>".into(), Runtime::Docker),
    ] {
        check_pod_container(&path, runtime);
    }
    // The node itself, beside its pods.
    check_container(
        "/system.slice/docker-<outer>.scope/kubelet.slice/kubelet.service",
        OUTER,
        Runtime::Docker,
    );
}

#[test]
fn systemd_inside_a_container_belongs_to_the_container() {
    let container = "/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<c>.scope";
    for inside in [
        "init.scope",
        "system.slice/foo.service",
        "user.slice/user-0.slice/session-1.scope",
    ] {
        check_pod_container(&format!("{container}/{inside}"), Runtime::Containerd);
    }
    check_container("/docker/<c>/system.slice/foo.service", C, Runtime::Docker);
}

#[test]
fn sysbox_is_seen_from_outside() {
    check_container(
        "/system.slice/docker-<outer>.scope/syscont-cgroup-root/docker/<c>",
        OUTER,
        Runtime::Docker,
    );
    check_container(
        "/docker/<outer>/syscont-cgroup-root/init.scope",
        OUTER,
        Runtime::Docker,
    );
    check_pod_container(
        "/kubepods.slice/kubepods-pod<uid_>.slice/crio-<c>.scope/syscont-cgroup-root/system.slice/docker-<outer>.scope",
        Runtime::Crio,
    );
}

#[test]
fn seen_from_inside_a_cgroup_namespace() {
    check_pod_container("/../../pod<uid>/<c>", Runtime::Unknown);
    check_pod_container(
        "/../../kubepods-pod<uid_>.slice/cri-containerd-<c>.scope",
        Runtime::Containerd,
    );
    check_container("/../<c>", C, Runtime::Unknown);
    check_container(
        "/../../../../system.slice/docker-<c>.scope",
        C,
        Runtime::Docker,
    );
}

#[test]
fn containers_without_a_pod() {
    for (path, runtime) in [
        ("/docker/<c>", Runtime::Docker),
        ("/system.slice/docker-<c>.scope", Runtime::Docker),
        ("/k8s.io/<c>", Runtime::Containerd),
        ("/system.slice/nerdctl-<c>.scope", Runtime::Containerd),
        ("/machine.slice/libpod-<c>.scope", Runtime::Podman),
        ("/machine.slice/libpod-<c>.scope/container", Runtime::Podman),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<c>.scope/container",
            Runtime::Podman,
        ),
        (
            "/system.slice/web.service/libpod-payload-<c>",
            Runtime::Podman,
        ),
        (
            "/machine.slice/machine-libpod_pod_<outer>.slice/libpod-<c>.scope",
            Runtime::Podman,
        ),
        ("/machine.slice/libpod-<c>.scope (deleted)", Runtime::Podman),
    ] {
        check_container(path, C, runtime);
    }
}

#[test]
fn lxc_containers_go_by_name() {
    for path in [
        "/lxc/web",
        "/lxc.payload.web",
        "/lxc.payload/web",
        "/lxc/web/system.slice/cron.service",
    ] {
        check_container(path, "web", Runtime::Lxc);
    }
    check_container("/lxc.payload.web/docker/<c>", C, Runtime::Docker);
    check_host("/lxc.monitor.web", "lxc.monitor.web", None);
    check_host("/lxc", "lxc", None);
}

#[test]
fn a_pod_without_a_container() {
    let pod = CgroupOwner::Pod { uid: UID.into() };
    for path in [
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice",
        "/kubepods/burstable/pod<uid>",
        "/kubepods/burstable/pod<uid>/something",
        "/kubepods.slice/kubepods-pod<uid_>.slice/crio-conmon-<c>.scope",
    ] {
        check(path, &pod);
    }
}

#[test]
fn conmon_is_not_a_container() {
    check_host(
        "/machine.slice/libpod-conmon-<c>.scope",
        "machine.slice",
        None,
    );
    check_host(
        "/machine.slice/crio-conmon-<c>.scope",
        "machine.slice",
        None,
    );
}

#[test]
fn the_host() {
    for (path, slice, unit) in [
        ("/", "/", None),
        ("", "/", None),
        ("/..", "/", None),
        ("/system.slice", "system.slice", None),
        (
            "/system.slice/sshd.service",
            "system.slice",
            Some("sshd.service"),
        ),
        (
            "/system.slice/containerd.service",
            "system.slice",
            Some("containerd.service"),
        ),
        (
            "/system.slice/nginx.service/worker",
            "system.slice",
            Some("nginx.service"),
        ),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            "system-getty.slice",
            Some("getty@tty1.service"),
        ),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            "system-postgresql.slice",
            Some("postgresql@15-main.service"),
        ),
        (
            "/runtime.slice/kubelet.service",
            "runtime.slice",
            Some("kubelet.service"),
        ),
        (
            "/azure.slice/walinuxagent.service",
            "azure.slice",
            Some("walinuxagent.service"),
        ),
        (
            "/system.slice/k3s.service",
            "system.slice",
            Some("k3s.service"),
        ),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            "user-1000.slice",
            None,
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service",
            "user-1000.slice",
            Some("user@1000.service"),
        ),
        ("/init.scope", "init.scope", None),
        // Talos
        ("/podruntime/runtime", "podruntime", None),
        ("/system/apid", "system", None),
        (
            "/kubepods.slice/kubepods-burstable.slice",
            "kubepods-burstable.slice",
            None,
        ),
        ("/kubepods/burstable", "kubepods", None),
    ] {
        check_host(path, slice, unit);
    }
}

#[test]
fn names_made_up_per_run_are_left_out() {
    for (unit, expected) in [
        ("run-r9f2d7c4f3c8e4b8c8f2a.service", None),
        ("run-u37.scope", None),
        (
            "sshd@3-10.0.0.1:22-10.0.0.9:40022.service",
            Some("sshd@.service"),
        ),
        (
            "systemd-coredump@0-713-0.service",
            Some("systemd-coredump@.service"),
        ),
        ("user@1000.service", Some("user@1000.service")),
    ] {
        check_host(&format!("/system.slice/{unit}"), "system.slice", expected);
    }
}

#[test]
fn near_misses() {
    let upper = C.to_uppercase();
    for leaf in [
        &C[1..],
        &format!("{C}0"),
        &upper,
        &format!("{C}.service"),
        &format!("x{C}"),
    ] {
        check_host(&format!("/docker/{leaf}"), "docker", None);
    }
    let uid_upper = UID.to_uppercase();
    for pod in [&UID[1..], &HASH[1..], &uid_upper, "", "s"] {
        check_host(&format!("/kubepods/pod{pod}"), "kubepods", None);
    }
    check_host("/kubepods/tripod<uid>", "kubepods", None);
}

#[test]
fn absurdly_long_paths() {
    check_host(&"/a".repeat(500_000), "a", None);
    check_container(
        &format!("/docker/<c>{}", "/x".repeat(500_000)),
        C,
        Runtime::Docker,
    );
    check_host(
        &format!("/{}", "pod".repeat(300_000)),
        &"pod".repeat(300_000),
        None,
    );
}

proptest! {
    #[test]
    fn any_text_has_one_answer(path in any::<String>()) {
        prop_assert_eq!(parse(&path), parse(&path));
    }

    #[test]
    fn pieces_in_any_order(parts in proptest::collection::vec(
        proptest::sample::select(vec![
            "", "..", "-", ":", "pod", ".slice", ".scope", ".service", "@", "kubepods.slice", "lxc", "lxc.payload.",
            "syscont-cgroup-root", "é", C, UID, UID_, HASH, "docker-", "/", "/", "/",
        ]),
        0..24,
    )) {
        let path = parts.concat();
        let owner = parse(&path);
        prop_assert_eq!(&owner, &parse(&path));
        match owner {
            CgroupOwner::Container { id, runtime, .. } => {
                // Two hashes side by side make an id, too.
                prop_assert!(runtime == Runtime::Lxc || &*id == C || *id == HASH.repeat(2), "{}", id);
            }
            CgroupOwner::Pod { uid } => prop_assert!(&*uid == UID || &*uid == HASH, "{}", uid),
            CgroupOwner::Host { slice, .. } => prop_assert!(!slice.is_empty()),
        }
    }
}
