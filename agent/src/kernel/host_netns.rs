//! Which network namespace is the host's: where the packets of pods pass, and Services are translated.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{NamespaceError, NetworkNamespace, classic::is_kernel_thread};

/// A setting that only the kernel's first network namespace has, because it is about the machine's processors. What is shown
/// is that of the calling thread's namespace, so that it tells without a capability whether that is the first.
const OF_THE_FIRST: &str = "/proc/sys/net/core/netdev_budget";

/// The first process.
const INIT: &str = "/proc/1";
/// `kthreadd`, the parent of all kernel threads, which are in the kernel's first namespaces.
const KTHREADD: &str = "/proc/2";

/// The host's network namespace: the calling thread's own if that is the kernel's first, else that of process 1. In a PID
/// namespace of its own (without hostPID) that is the agent's container, and nobody can tell.
///
/// # Errors
/// It is another one than the caller's and may not be looked at, which takes `CAP_SYS_PTRACE`.
pub fn host_network_namespace() -> Result<NetworkNamespace, NamespaceError> {
    if Path::new(OF_THE_FIRST).exists() {
        return NetworkNamespace::own().map_err(NamespaceError::Own);
    }
    let of = |process: &str| NetworkNamespace::open(PathBuf::from(process).join("ns/net"));
    of(INIT)
        .or_else(|error| {
            // Security modules may guard process 1 from everybody.
            if is_kthreadd(KTHREADD) {
                of(KTHREADD)
            } else {
                Err(error)
            }
        })
        .map_err(NamespaceError::Host)
}

/// In another PID namespace than the kernel's first, any process may have the number.
fn is_kthreadd(process: &str) -> bool {
    let read = |file| -> io::Result<String> { fs::read_to_string(Path::new(process).join(file)) };
    read("comm").is_ok_and(|comm| comm == "kthreadd\n")
        && read("stat").is_ok_and(|stat| is_kernel_thread(&stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_kthreadd_is_not_believed() {
        let directory = tempfile::tempdir().expect("a directory");
        let process = directory.path().to_str().expect("UTF-8");
        let check = |comm: &str, stat: &str, expected| {
            fs::write(directory.path().join("comm"), comm).expect("written");
            fs::write(directory.path().join("stat"), stat).expect("written");
            assert_eq!(is_kthreadd(process), expected, "{comm:?} {stat:?}");
        };
        check("kthreadd\n", "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0", true);
        check("kthreadd\n", "2 (kthreadd) S 0 0 0 0 -1 4194304 0 0", false);
        check("sleep\n", "2 (sleep) S 0 0 0 0 -1 2129984 0 0", false);
        assert!(!is_kthreadd("/nonexistent"));
    }
}
