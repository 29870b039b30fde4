//! What a cgroup's path says about whose it is. Pure text work: no file is read here.
//!
//! Kubelet builds `[root]/kubepods/[burstable|besteffort]/pod<UID>`, flat or as nested systemd slices, and the
//! container runtime appends the leaf. The search runs from leaf to root so that the deepest container wins
//! (kind, systemd inside a container), as in Kepler; Sysbox's own subtree is cut off first.

use std::sync::Arc;

/// Below this directory Sysbox gives a container a whole cgroup tree of its own: the container is above it.
const SYSBOX_ROOT: &str = "syscont-cgroup-root";

/// Whose processes a cgroup holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CgroupOwner {
    /// A container.
    Container {
        /// 64 lowercase hexadecimal digits; for LXC, which has no such id, the container's name.
        id: Arc<str>,
        /// As far as the path tells.
        runtime: Runtime,
        /// UID of the pod it is in, with dashes; for static pods the 32 digits of the configuration's hash.
        pod_uid: Option<Arc<str>>,
    },
    /// A pod, but none of its containers: the pod's own slice, or a runtime's helper process in it.
    Pod {
        /// As in [`CgroupOwner::Container`].
        uid: Arc<str>,
    },
    /// Processes of the host.
    Host {
        /// The innermost systemd slice, or the first directory where there is none, or `/` for the root cgroup.
        slice: Arc<str>,
        /// The service in that slice. Scopes and transient services, whose names are made up anew for each run,
        /// and instances made for one connection are left out: they would be resources without end.
        unit: Option<Arc<str>>,
    },
}

/// Container runtimes that leave their mark in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// containerd, by its CRI plugin or otherwise.
    Containerd,
    /// CRI-O.
    Crio,
    /// Docker, by itself or through cri-dockerd.
    Docker,
    /// Podman and what else uses libpod.
    Podman,
    /// LXC, LXD, Incus.
    Lxc,
    /// The path names a container, but not its runtime.
    Unknown,
}

/// Reads a path relative to the root of its hierarchy, as `cgroup_mkdir`, a scan or `/proc/PID/cgroup` give it.
pub fn parse(path: &str) -> CgroupOwner {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let components: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != "." && *part != "..")
        .take_while(|part| *part != SYSBOX_ROOT)
        .collect();
    if let Some(owner) = container(&components) {
        return owner;
    }
    if let Some(uid) = components.iter().rev().find_map(|part| pod_uid(part)) {
        return CgroupOwner::Pod { uid };
    }
    lxc(&components).unwrap_or_else(|| host(&components))
}

fn container(components: &[&str]) -> Option<CgroupOwner> {
    let (at, id, runtime) = components.iter().enumerate().rev().find_map(|(at, part)| {
        let parent = at.checked_sub(1).map(|above| components[above]);
        container_id(part, parent).map(|(id, runtime)| (at, id, runtime))
    })?;
    Some(CgroupOwner::Container {
        id: id.into(),
        runtime,
        pod_uid: components[..=at]
            .iter()
            .rev()
            .find_map(|part| pod_uid(part)),
    })
}

/// `<64hex>`, `<prefix>-<64hex>[.scope]` and `<slice>:<prefix>:<64hex>`.
fn container_id<'a>(part: &'a str, parent: Option<&str>) -> Option<(&'a str, Runtime)> {
    // conmon watches over a container from outside it.
    if part.contains("conmon") {
        return None;
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let start = name.rfind([':', '-']).map_or(0, |separator| separator + 1);
    let (prefix, id) = name.split_at(start);
    if id.len() != 64 || !is_lower_hex(id) {
        return None;
    }
    let prefix = prefix.trim_end_matches([':', '-']);
    let prefix = prefix.rsplit(':').next().unwrap_or(prefix);
    let runtime = match prefix {
        "cri-containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::Crio,
        "docker" => Runtime::Docker,
        "libpod" | "libpod-payload" => Runtime::Podman,
        _ => match parent {
            Some("docker") => Runtime::Docker,
            Some("k8s.io") => Runtime::Containerd,
            _ => Runtime::Unknown,
        },
    };
    Some((id, runtime))
}

/// The UID in `pod<uid>`, `kubepods-burstable-pod<uid_>.slice` and, where kubelet's and the runtime's cgroup drivers
/// differ, `kubepods-burstable-pod<uid_>.slice:cri-containerd:<id>`.
fn pod_uid(part: &str) -> Option<Arc<str>> {
    let name = part.split(':').next().unwrap_or(part);
    let name = name.strip_suffix(".slice").unwrap_or(name);
    // A UID is hexadecimal, so the last "pod" is the one in front of it.
    let (before, uid) = name.rsplit_once("pod")?;
    if !before.is_empty() && !before.ends_with('-') {
        return None;
    }
    if uid.len() == 32 && is_lower_hex(uid) {
        return Some(uid.into());
    }
    let is_uuid = uid.len() == 36
        && uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => matches!(byte, b'-' | b'_'),
            _ => is_lower_hex_digit(byte),
        });
    is_uuid.then(|| uid.replace('_', "-").into())
}

/// `/lxc/<name>`, `/lxc.payload/<name>` and `/lxc.payload.<name>`.
fn lxc(components: &[&str]) -> Option<CgroupOwner> {
    let name = components
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, part)| match *part {
            "lxc" | "lxc.payload" => components.get(at + 1).copied(),
            _ => part
                .strip_prefix("lxc.payload.")
                .filter(|name| !name.is_empty()),
        })?;
    Some(CgroupOwner::Container {
        id: name.into(),
        runtime: Runtime::Lxc,
        pod_uid: None,
    })
}

fn host(components: &[&str]) -> CgroupOwner {
    let slices = components
        .iter()
        .take_while(|part| part.strip_suffix(".slice").is_some())
        .count();
    let (slice, unit) = match slices.checked_sub(1) {
        Some(innermost) => (components[innermost], components.get(slices).copied()),
        None => (components.first().copied().unwrap_or("/"), None),
    };
    CgroupOwner::Host {
        slice: slice.into(),
        unit: unit.and_then(lasting_unit),
    }
}

/// The unit if it is a service that will be called the same when it runs again.
fn lasting_unit(unit: &str) -> Option<Arc<str>> {
    let name = unit.strip_suffix(".service")?;
    // `systemd-run` without `--unit`.
    if name.starts_with("run-") {
        return None;
    }
    match name.split_once('@') {
        Some((template, instance)) if is_per_connection(instance) => {
            Some(format!("{template}@.service").into())
        }
        _ => Some(unit.into()),
    }
}

/// Socket units with `Accept=yes` number their instances: `sshd@3-10.0.0.1:22-10.0.0.9:40022`, `systemd-coredump@0-713-0`.
fn is_per_connection(instance: &str) -> bool {
    let starts_with_digit = |part: &str| part.starts_with(|first: char| first.is_ascii_digit());
    instance.contains(':')
        || (instance.split('-').count() >= 3 && instance.split('-').all(starts_with_digit))
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(is_lower_hex_digit)
}

fn is_lower_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests;
