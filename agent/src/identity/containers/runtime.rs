//! What container runtimes execute in a container's cgroup before the container's own program.

use crate::events::Exec;

/// Runtimes whose own program prepares the container from inside.
const RUNTIMES: [&[u8]; 3] = [b"runc", b"crun", b"youki"];

/// Whether a runtime executes itself.
///
/// runc's init executes itself by `/proc/self/exe`, or by a descriptor of a copy of itself (so that the container cannot change
/// the runtime's file), and becomes the container's program last. A process that has not executed anything in the container yet
/// can have no other program behind such a path. Called by its path, it is known by its argument.
pub fn is_runtimes_own(exec: &Exec<'_>) -> bool {
    is_itself(exec.file_name) || (is_runtime(exec.file_name) && first_argument(exec) == b"init")
}

/// `/proc/self/exe`, `/proc/self/fd/N`, and whatever else stands for them; `/dev/fd/N` is `fexecve(3)`.
fn is_itself(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    let parts: [Option<&[u8]>; 6] = std::array::from_fn(|_| parts.next());
    let is_process = |part: &[u8]| {
        let is_number = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        is_number || part == b"self" || part == b"thread-self"
    };
    match parts {
        [
            Some(b""),
            Some(b"proc"),
            Some(process),
            Some(b"exe"),
            None,
            _,
        ]
        | [
            Some(b""),
            Some(b"proc"),
            Some(process),
            Some(b"fd"),
            Some(_),
            None,
        ] => is_process(process),
        [Some(b""), Some(b"dev"), Some(b"fd"), Some(_), None, _] => true,
        _ => false,
    }
}

fn is_runtime(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next();
    name.is_some_and(|name| RUNTIMES.contains(&name))
}

/// The argument after the program's name.
fn first_argument<'a>(exec: &Exec<'a>) -> &'a [u8] {
    let mut arguments = exec.arguments.split(|byte| *byte == 0);
    arguments.nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ProcessId;

    #[test]
    fn runtimes_are_told_from_programs() {
        let check = |file_name: &str, arguments: &str, expected: bool| {
            let exec = Exec {
                process: ProcessId {
                    pid: 1,
                    start_ns: 1,
                },
                parent: ProcessId {
                    pid: 1,
                    start_ns: 0,
                },
                uid: 0,
                comm: b"6",
                file_name: file_name.as_bytes(),
                file_name_truncated: false,
                arguments: arguments.as_bytes(),
                ..Exec::default()
            };
            assert_eq!(is_runtimes_own(&exec), expected, "{file_name} {arguments}");
        };
        check("/proc/self/exe", "runc\0init\0", true);
        check("/proc/self/fd/7", "runc\0init\0", true);
        check("/proc/thread-self/fd/7", "", true);
        check("/proc/4711/exe", "", true);
        check("/dev/fd/6", "/usr/bin/runc\0init\0", true);
        check("/usr/bin/runc", "runc\0init\0", true);
        check("/usr/bin/runc", "runc\0list\0", false);
        check("/bin/sh", "sh\0-c\0init\0", false);
        check("/sbin/init", "init\0", false);
        check("/proc/self/root/bin/sh", "", false);
        check("proc/self/exe", "", false);
        check("/proc//exe", "", false);
        check("/proc/self/fd/6/app", "", false);
        check("/dev/fd/6/app", "", false);
        check("", "", false);
    }
}
