//! Kinds of records.

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`super::Cgroup`]: a cgroup was made.
    CgroupMkdir = 0,
    /// [`super::Cgroup`]: a cgroup was removed.
    CgroupRmdir = 1,
    /// [`super::Cgroup`]: a process was moved into a cgroup.
    CgroupAttach = 2,
    /// [`super::Fork`].
    Fork = 3,
    /// [`super::Exec`].
    Exec = 4,
    /// [`super::Exit`].
    Exit = 5,
    /// [`super::OomKill`].
    OomKill = 6,
    /// [`super::TcpOpen`]: a connection reached ESTABLISHED.
    TcpOpen = 7,
    /// [`super::TcpClose`]: a connection ended.
    TcpClose = 8,
    /// [`super::TcpClose`]: a connection attempt ended before ESTABLISHED.
    TcpConnectFailed = 9,
    /// [`super::TcpClose`]: a connection that is open, as a snapshot found it.
    TcpSnapshot = 10,
    /// [`super::Task`]: a process that a snapshot found.
    Task = 11,
    /// [`super::TcpOpen`]: a connection, or what is left of one, was reset by this end.
    TcpReset = 12,
    /// [`super::TcpListener`]: a listening socket that a snapshot found.
    TcpListener = 13,
    /// [`super::Dns`]: a message of DNS, or a part of one.
    Dns = 14,
    /// [`super::Freed`]: the kernel let go of a process that ended.
    Freed = 15,
    /// [`super::TcpListener`]: a socket begins to listen.
    TcpListen = 16,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: u32 = 17;

    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::CgroupMkdir,
            1 => Self::CgroupRmdir,
            2 => Self::CgroupAttach,
            3 => Self::Fork,
            4 => Self::Exec,
            5 => Self::Exit,
            6 => Self::OomKill,
            7 => Self::TcpOpen,
            8 => Self::TcpClose,
            9 => Self::TcpConnectFailed,
            10 => Self::TcpSnapshot,
            11 => Self::Task,
            12 => Self::TcpReset,
            13 => Self::TcpListener,
            14 => Self::Dns,
            15 => Self::Freed,
            16 => Self::TcpListen,
            _ => return None,
        })
    }
}
