//! Keys and values of the kernel maps.

use crate::limits::COMM;

/// A process as a kernel program saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// Process id (`tgid`) in the initial namespace; 0 where unknown.
    pub pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Its name when seen.
    pub comm: [u8; COMM],
}

/// What is remembered of a TCP connection while it is open. Key: the socket's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// Boot clock when the connection was begun.
    pub started_ns: u64,
    /// Boot clock when it reached ESTABLISHED; 0 before.
    pub established_ns: u64,
    /// Who opened it, or who listens.
    pub owner: Process,
    /// One of the roles in [`crate::record::role`].
    pub role: u32,
    /// Bits of [`crate::record::tcp_flag`] to put on its last record.
    pub flags: u32,
}

/// Key of the table of listening sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ListenerKey {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Local port, host byte order.
    pub port: u32,
}

/// Key that makes a process's exit count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessKey {
    /// Process id in the initial namespace.
    pub pid: u64,
    /// Boot clock when the process started.
    pub start_ns: u64,
}

const _: () = assert!(size_of::<Process>() == 24);
const _: () = assert!(size_of::<Connection>() == 48);
const _: () = assert!(size_of::<ListenerKey>() == 8);
const _: () = assert!(size_of::<ProcessKey>() == 16);
