//! Longest texts a record can carry. Longer ones are cut and marked.

/// Length of a task's `comm` with its NUL (`TASK_COMM_LEN`, `include/linux/sched.h`).
pub const COMM: usize = 16;

/// Bytes kept of the file name given to `execve(2)`.
pub const FILE_NAME: usize = 256;

/// Bytes kept of a process's arguments, NUL separators included.
pub const ARGUMENTS: usize = 512;

/// Bytes kept of a cgroup's path, with its NUL.
pub const CGROUP_PATH: usize = 1024;

/// Bytes of a message of DNS that are captured: as many as one without EDNS has at most (RFC 1035, section 2.3.4).
pub const DNS_PAYLOAD: usize = 512;
