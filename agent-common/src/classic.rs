//! What the programs read where the kernel has no BTF: fields of the records that classic tracepoints hand out.
//!
//! As [`fields`](crate::fields), declared once for both sides; the daemon finds the positions in the tracepoints' own
//! descriptions, `events/CATEGORY/NAME/format` below tracefs. A row is
//!
//! ```text
//! NAME: shape(width in bytes), "category", "tracepoint", "field";
//! ```
//!
//! where the shape is `number` (anything stored in place), `text` (a string whose place the record tells in four bytes)
//! or `optional` (a number that not every kernel has). A field found nowhere has the offset
//! [`ABSENT`](crate::fields::ABSENT).

use crate::maps::Process;

/// Calls `$callback!` with every field.
#[macro_export]
macro_rules! classic_fields {
    ($callback:ident) => {
        $callback! {
            TP_CGROUP_ROOT: number(4), "cgroup", "cgroup_mkdir", "root";
            TP_CGROUP_ID: number(8), "cgroup", "cgroup_mkdir", "id";
            TP_CGROUP_PATH: text(4), "cgroup", "cgroup_mkdir", "path";
            TP_RMDIR_ROOT: number(4), "cgroup", "cgroup_rmdir", "root";
            TP_RMDIR_ID: number(8), "cgroup", "cgroup_rmdir", "id";
            TP_RMDIR_PATH: text(4), "cgroup", "cgroup_rmdir", "path";
            TP_ATTACH_ROOT: number(4), "cgroup", "cgroup_attach_task", "dst_root";
            TP_ATTACH_ID: number(8), "cgroup", "cgroup_attach_task", "dst_id";
            TP_ATTACH_PID: number(4), "cgroup", "cgroup_attach_task", "pid";
            TP_ATTACH_PATH: text(4), "cgroup", "cgroup_attach_task", "dst_path";
            TP_NEWTASK_PID: number(4), "task", "task_newtask", "pid";
            TP_NEWTASK_FLAGS: number(8), "task", "task_newtask", "clone_flags";
            TP_EXEC_FILE_NAME: text(4), "sched", "sched_process_exec", "filename";
            TP_EXIT_PID: number(4), "sched", "sched_process_exit", "pid";
            TP_EXIT_GROUP_DEAD: optional(1), "sched", "sched_process_exit", "group_dead";
            TP_VICTIM_PID: number(4), "oom", "mark_victim", "pid";
            TP_SOCK_ADDRESS: number(8), "sock", "inet_sock_set_state", "skaddr";
            TP_SOCK_OLD_STATE: number(4), "sock", "inet_sock_set_state", "oldstate";
            TP_SOCK_NEW_STATE: number(4), "sock", "inet_sock_set_state", "newstate";
            TP_SOCK_SPORT: number(2), "sock", "inet_sock_set_state", "sport";
            TP_SOCK_DPORT: number(2), "sock", "inet_sock_set_state", "dport";
            TP_SOCK_FAMILY: number(2), "sock", "inet_sock_set_state", "family";
            TP_SOCK_PROTOCOL: number(2), "sock", "inet_sock_set_state", "protocol";
            TP_SOCK_SADDR: number(16), "sock", "inet_sock_set_state", "saddr_v6";
            TP_SOCK_DADDR: number(16), "sock", "inet_sock_set_state", "daddr_v6";
        }
    };
}

/// What is remembered of a TCP connection while it is open. Key: the socket's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ClassicConnection {
    /// Boot clock when the connection was begun.
    pub started_ns: u64,
    /// Boot clock when it reached ESTABLISHED; 0 before.
    pub established_ns: u64,
    /// cgroup v2 id of the process that connected; 0 where unknown.
    pub cgroup_id: u64,
    /// Who connected; unknown for an accepted connection.
    pub owner: Process,
    /// One of the roles in [`crate::record::role`].
    pub role: u32,
    /// Bits of [`crate::record::tcp_flag`] to put on its last record.
    pub flags: u32,
}

const _: () = assert!(size_of::<ClassicConnection>() == 56);
