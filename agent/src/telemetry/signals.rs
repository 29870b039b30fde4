//! Names of signals.

use crate::identity::Value;

/// The name of a signal as `signal(7)` spells it, or its number for real-time signals.
pub(super) fn signal_name(signal: u8) -> Value {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let known = usize::from(signal)
        .checked_sub(1)
        .and_then(|index| NAMES.get(index));
    known.map_or_else(
        || Value::Str(signal.to_string().into()),
        |name| Value::Static(name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_numbers() {
        let check = |number: i32, expected: &str| {
            let number = u8::try_from(number).expect("small");
            assert_eq!(signal_name(number).as_str(), Some(expected));
        };
        check(libc::SIGHUP, "SIGHUP");
        check(libc::SIGKILL, "SIGKILL");
        check(libc::SIGSEGV, "SIGSEGV");
        check(libc::SIGTERM, "SIGTERM");
        check(libc::SIGCHLD, "SIGCHLD");
        check(libc::SIGSYS, "SIGSYS");
        check(35, "35");
        check(0, "0");
    }
}
