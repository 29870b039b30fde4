//! Names of capabilities.

use std::sync::Arc;

/// In the order of `include/uapi/linux/capability.h`.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The names of those whose bits are set; of newer ones the number.
pub(super) fn names(set: u64) -> Arc<[Arc<str>]> {
    let numbers = (0..64_usize).filter(|number| set >> number & 1 == 1);
    let name = |number: usize| -> Arc<str> {
        match NAMES.get(number) {
            Some(name) => (*name).into(),
            None => format!("CAP_{number}").into(),
        }
    };
    numbers.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names() {
        let check = |set, expected: &[&str]| {
            assert_eq!(
                names(set).iter().map(|name| &**name).collect::<Vec<_>>(),
                expected
            );
        };
        check(0, &[]);
        check(1 | 1 << 21, &["CAP_CHOWN", "CAP_SYS_ADMIN"]);
        check(1 << 40 | 1 << 63, &["CAP_CHECKPOINT_RESTORE", "CAP_63"]);
    }
}
