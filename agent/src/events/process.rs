//! What happens to processes.

use std::borrow::Cow;

use wellhead_common::maps::Signals;
use wellhead_common::record::{STATUS_UNKNOWN, Usage};

use super::text::executable_name;

/// A process, unambiguous while the machine is up: process ids are reused, start times are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Boot clock when it started; 0 where the kernel does not tell (no BTF).
    pub start_ns: u64,
}

impl ProcessId {
    /// When it started, where known. Where it is not, a process id may later stand for another process.
    pub fn started_ns(self) -> Option<u64> {
        (self.start_ns != 0).then_some(self.start_ns)
    }
}

/// A process was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The child.
    pub child: ProcessId,
    /// The process that called.
    pub parent: ProcessId,
}

/// A process that was there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The process.
    pub process: ProcessId,
    /// Its real parent.
    pub parent: ProcessId,
    /// Its `comm`, NUL-padded.
    pub comm: [u8; 16],
    /// It runs what its parent ran when it was forked.
    pub only_forked: bool,
    /// Real user id.
    pub real_uid: u32,
    /// Capabilities it may use, a bit each.
    pub permitted: u64,
}

/// A process executes another program.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a bit of the record, independent of the others"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec<'a> {
    /// The process.
    pub process: ProcessId,
    /// Its real parent.
    pub parent: ProcessId,
    /// Its process id in its own PID namespace, where that is known.
    pub own_pid: Option<u32>,
    /// Real user id after the call.
    pub real_uid: u32,
    /// Effective user id after the call.
    pub uid: u32,
    /// Effective group id after the call.
    pub gid: u32,
    /// Capabilities it may use from now on, a bit each.
    pub permitted: u64,
    /// Its new `comm`, at most 15 bytes.
    pub comm: &'a [u8],
    /// The file name given to `execve(2)`.
    pub file_name: &'a [u8],
    /// The file name was longer than the record holds.
    pub file_name_truncated: bool,
    /// Path of the interpreter, as the script names it; empty if the file is no script.
    pub interpreter: &'a [u8],
    /// The file that is executed: of a script its interpreter's.
    pub executable: PathNames<'a>,
    /// The file has no name in any directory any more.
    pub is_unlinked: bool,
    /// The file never had one: it was made by `memfd_create(2)`.
    pub is_in_memory: bool,
    /// It is in a user namespace other than the first.
    pub in_user_namespace: bool,
    /// The working directory.
    pub directory: PathNames<'a>,
    /// Arguments, each ended by NUL.
    pub arguments: &'a [u8],
    /// There were more arguments than the record holds.
    pub arguments_truncated: bool,
    /// The arguments could not be read.
    pub arguments_unreadable: bool,
}

impl Exec<'_> {
    /// The name the program was called by. One that was executed by a descriptor, or by a process that executes its own program,
    /// was called by none: it has that of its file.
    pub fn name(&self) -> Cow<'_, str> {
        let mut names = self.executable.names.split(|byte| *byte == 0);
        match names.next().filter(|own| !own.is_empty()) {
            Some(own) if says_no_name(self.file_name) => String::from_utf8_lossy(own),
            _ => executable_name(self.file_name, self.file_name_truncated, self.comm),
        }
    }
}

/// Whether a path is that of a descriptor (`/dev/fd/N`, as the kernel writes it for `fexecve(3)`, or a link of `/proc`), or a
/// process's program, `/proc/self/exe`.
fn says_no_name(path: &[u8]) -> bool {
    let mut names = path.rsplit(|byte| *byte == b'/');
    let last = names.next().unwrap_or_default();
    if last == b"exe" {
        let mut above = path.split(|byte| *byte == b'/').skip(1);
        return above.next() == Some(b"proc") && above.count() == 2;
    }
    let is_number = !last.is_empty() && last.iter().all(u8::is_ascii_digit);
    let is_there = path.starts_with(b"/dev/") || path.starts_with(b"/proc/");
    is_number && is_there && names.next() == Some(b"fd")
}

/// A path as the kernel has it: from its last name to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathNames<'a> {
    /// The names, NUL after each.
    pub names: &'a [u8],
    /// The first names are missing.
    pub is_cut: bool,
}

impl PathNames<'_> {
    /// The path, `…` in place of what is missing; `None` where nothing is known of it. Bytes that are not UTF-8 are replaced.
    pub fn to_path(self) -> Option<String> {
        let Self { names, is_cut } = self;
        if names.is_empty() && is_cut {
            return None;
        }
        let mut path = if is_cut { "…" } else { "" }.to_owned();
        let names = names.strip_suffix(b"\0").unwrap_or(names);
        for name in names.rsplit(|byte| *byte == 0) {
            path.push('/');
            path.push_str(&String::from_utf8_lossy(name));
        }
        Some(path)
    }
}

/// A process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process.
    pub process: ProcessId,
    /// Its real parent's process id.
    pub parent_pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Its last `comm`, NUL-padded.
    pub comm: [u8; 16],
    /// How it ended.
    pub status: ExitStatus,
    /// Its memory was written to a file.
    pub dumped_core: bool,
    /// What it used, as far as it was known then.
    pub usage: Usage,
    /// Who told it to end.
    pub signals: Signals,
}

/// The kernel let go of a process that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The process.
    pub process: ProcessId,
    /// What it used in all.
    pub usage: Usage,
}

/// How a process ended, as `wait(2)` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It called `exit(2)`.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
    /// The kernel does not tell (no BTF).
    Unknown,
}

impl ExitStatus {
    /// Decodes the status of `wait4(2)`: signal in the low seven bits, else the code in the second byte.
    pub fn from_wait_status(status: u32) -> Self {
        if status == STATUS_UNKNOWN {
            return Self::Unknown;
        }
        let [low, code, ..] = status.to_le_bytes();
        match low & 0x7f {
            0 => Self::Code(code),
            signal => Self::Signal(signal),
        }
    }

    /// Whether it is known to have ended badly.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Code(1..) | Self::Signal(_))
    }
}

/// The kernel chose a victim to free memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OomKill {
    /// The victim's process id.
    pub pid: u32,
    /// When it started, where the kernel says so.
    pub start_ns: Option<u64>,
    /// Its `comm`, NUL-padded; empty where the kernel does not say.
    pub comm: [u8; 16],
    /// What it took, where the kernel says so.
    pub memory: Option<VictimMemory>,
    /// Whose limit was hit; `None` where that is not known or none was.
    pub limit: Option<HitLimit>,
}

/// Memory of a victim, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VictimMemory {
    /// Its own.
    pub anonymous: u64,
    /// Of files.
    pub file: u64,
    /// Shared.
    pub shared: u64,
}

/// A cgroup that has no memory left to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitLimit {
    /// How many above the victim's own it is.
    pub level: u32,
    /// Bytes charged to it.
    pub charged: u64,
    /// Its limit, in bytes.
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_no_names() {
        let check = |file_name: &str, names: &[u8], expected| {
            let exec = Exec {
                file_name: file_name.as_bytes(),
                executable: PathNames {
                    names,
                    is_cut: false,
                },
                comm: b"comm",
                ..Exec::default()
            };
            assert_eq!(exec.name(), expected, "{file_name}");
        };
        check("/bin/sh", b"dash\0bin\0", "sh");
        check("/dev/fd/7", b"app\0bin\0", "app");
        check("/proc/self/fd/12", b"memfd:app\0", "memfd:app");
        check("/dev/fd/7", b"", "7");
        check("/dev/fd/7/app", b"x\0", "app");
        check("/srv/fd/7", b"x\0", "7");
        check("/proc/self/exe", b"busybox\0bin\0", "busybox");
        check("/proc/4711/exe", b"busybox\0bin\0", "busybox");
        check("/proc/self/cwd/exe", b"x\0", "exe");
        check("/srv/self/exe", b"x\0", "exe");
    }

    #[test]
    fn paths_begin_at_the_root() {
        let check = |names: &[u8], is_cut, expected: Option<&str>| {
            assert_eq!(PathNames { names, is_cut }.to_path().as_deref(), expected);
        };
        check(b"sh\0bin\0usr\0", false, Some("/usr/bin/sh"));
        check(b"", false, Some("/"));
        check(b"", true, None);
        check(b"c\0b\0", true, Some("…/b/c"));
        check(b"\xff\0", false, Some("/\u{fffd}"));
    }
}
