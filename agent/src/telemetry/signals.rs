//! Names of signals.

use std::sync::Arc;

use crate::events::ExitStatus;
use crate::identity::Value;

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

/// The last real-time signal (`SIGRTMAX`).
const LAST: u8 = 64;

/// The name of a signal as `signal(7)` spells it, or its number for real-time signals.
pub(super) fn signal_name(signal: u8) -> Value {
    let known = usize::from(signal)
        .checked_sub(1)
        .and_then(|index| NAMES.get(index));
    known.map_or_else(
        || Value::Str(signal.to_string().into()),
        |name| Value::Static(name),
    )
}

/// How a process ended, where that is known: under the key for its code or that for its signal.
pub(super) fn outcome<K>(status: ExitStatus, (code, signal): (K, K)) -> Option<(K, Value)> {
    match status {
        ExitStatus::Code(number) => Some((code, Value::Int(i64::from(number)))),
        ExitStatus::Signal(number) => Some((signal, signal_name(number))),
        ExitStatus::Unknown => None,
    }
}

/// What [`signal_name`] has for the signal that somebody calls so: `SIGKILL`, `KILL`, or `SIG34` where it has no name. Capital letters do
/// not matter.
pub(crate) fn signal_named(given: &str) -> Option<Arc<str>> {
    let given = given.to_ascii_uppercase();
    let bare = given.strip_prefix("SIG");
    let number = bare.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    let is_it = |signal: &u8| {
        let name = NAMES.get(usize::from(signal - 1));
        let bare = bare.unwrap_or(&given);
        name.is_some_and(|name| name.strip_prefix("SIG") == Some(bare)) || number == Some(*signal)
    };
    let signal = (1..=LAST).find(is_it)?;
    signal_name(signal).as_str().map(Into::into)
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

    #[test]
    fn numbers_match_names() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(signal_named(given).as_deref(), expected, "{given}");
        };
        check("SIGKILL", Some("SIGKILL"));
        check("kill", Some("SIGKILL"));
        check("SIG9", Some("SIGKILL"));
        check("SIG64", Some("64"));
        check("SYS", Some("SIGSYS"));
        for unknown in ["", "SIG", "9", "SIG0", "SIG65", "SIG+9", "SIG999", "KILLER"] {
            check(unknown, None);
        }
        for signal in 1..=LAST {
            let name = signal_name(signal);
            let name = name.as_str().expect("text");
            let given = if name.starts_with("SIG") {
                name.to_owned()
            } else {
                format!("SIG{name}")
            };
            check(&given, Some(name));
        }
    }
}
