//! Kinds of the kernel's records.

macro_rules! record_kinds {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// Kinds of kernel records, as `wellhead.record.kind` names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RecordKind { $(#[doc = $name] $variant),+ }

        impl RecordKind {
            /// All of them, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of `wellhead.record.kind`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

record_kinds! {
    CgroupMkdir = "cgroup_mkdir",
    CgroupRmdir = "cgroup_rmdir",
    CgroupAttach = "cgroup_attach",
    Fork = "fork",
    Exec = "exec",
    Exit = "exit",
    Freed = "freed",
    OomKill = "oom_kill",
    TcpOpen = "tcp_open",
    TcpClose = "tcp_close",
    TcpConnectFailed = "tcp_connect_failed",
    TcpSnapshot = "tcp_snapshot",
    Task = "task",
    TcpReset = "tcp_reset",
    TcpListener = "tcp_listener",
    TcpListen = "tcp_listen",
    Dns = "dns",
}
