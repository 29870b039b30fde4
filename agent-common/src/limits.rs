//! Longest texts a record can carry. Longer ones are cut and marked.

/// Length of a task's `comm` with its NUL (`TASK_COMM_LEN`, `include/linux/sched.h`).
pub const COMM: usize = 16;

/// Bytes kept of the file name given to `execve(2)`.
pub const FILE_NAME: usize = 256;

/// Bytes kept of a process's arguments, NUL separators included.
pub const ARGUMENTS: usize = 4096;

/// Bytes kept of a path that is put together name by name, a NUL after each. Of longer ones the last names are kept.
pub const PATH: usize = 512;

/// Longest name in a directory, with its NUL (`NAME_MAX`, `include/uapi/linux/limits.h`).
pub const NAME: usize = 256;

/// Bytes kept of a cgroup's path, with its NUL.
pub const CGROUP_PATH: usize = 1024;

/// Bytes of a message of DNS that are captured: as many as one without EDNS has at most (RFC 1035, section 2.3.4).
pub const DNS_PAYLOAD: usize = 512;
