//! Events of containers' lives.

use std::sync::Arc;

use super::live::process::ENDED_AS;
use super::live::{Attributes, LiveEvent, Severity, nanoseconds, number};
use super::signals::outcome;
use crate::events::ExitStatus;
use crate::identity::Value;
use crate::identity::containers::{Before, CrashLoop, End, Ended, LoopSource, Started};

/// What the start of a container is told as.
pub const START: &str = "wellhead.container.start";
/// What its end is told as.
pub const EXIT: &str = "wellhead.container.exit";
/// What it is told as that it ends over and over.
pub const CRASH_LOOP: &str = "wellhead.container.crash_loop";

const OOM_KILLED: (&str, Value) = ("wellhead.container.oom_killed", Value::Bool(true));

impl LiveEvent {
    /// The event of a container that started at this time, after what came before. `restarts` is how many runs there were, where
    /// that is known.
    pub fn of_container_start(
        started: &Started,
        before: &Before,
        restarts: Option<u32>,
        time_unix_nano: u64,
    ) -> Self {
        let name = Value::Str(Arc::clone(&started.executable));
        let mut attributes = vec![
            ("process.pid", number(started.process.pid)),
            ("process.executable.name", name),
            (
                "wellhead.duration",
                nanoseconds(started.at.saturating_sub(started.made_ns)),
            ),
        ];
        attributes.extend(restart_count(restarts));
        let keys = (
            "wellhead.container.previous.exit.code",
            "wellhead.container.previous.signal",
        );
        attributes.extend(ended_as(before.end.and_then(|end| end.status), keys));
        if let Some(downtime) = before.downtime_ns {
            attributes.push(("wellhead.container.downtime", nanoseconds(downtime)));
        }
        Self {
            time_unix_nano,
            name: START,
            severity: Severity::Info,
            attributes,
            arguments: None,
        }
    }

    /// The event of a container that ended at this time.
    pub fn of_container_exit(ended: &Ended, time_unix_nano: u64) -> Self {
        let mut attributes = Attributes::new();
        if let Some(process) = ended.process {
            attributes.push(("process.pid", number(process.pid)));
        }
        if let Some(name) = &ended.executable {
            attributes.push(("process.executable.name", Value::Str(Arc::clone(name))));
        }
        attributes.extend(ended_as(ended.status, ENDED_AS));
        if let Some(ran) = ended.ran_ns {
            attributes.push(("wellhead.duration", nanoseconds(ran)));
        }
        if ended.oom_kills > 0 {
            let kills = number(ended.oom_kills);
            attributes.extend([OOM_KILLED, ("wellhead.container.oom_kills", kills)]);
        }
        let severity = match ended.status {
            _ if ended.oom_kills > 0 => Severity::Error,
            Some(status) if status.is_failure() => Severity::Warn,
            _ => Severity::Info,
        };
        Self {
            time_unix_nano,
            name: EXIT,
            severity,
            attributes,
            arguments: None,
        }
    }

    /// The event of a container that is found to end over and over at this time. `last` is its last end, whoever told of that.
    pub fn of_crash_loop(
        found: &CrashLoop,
        last: Option<&End>,
        restarts: Option<u32>,
        time_unix_nano: u64,
    ) -> Self {
        let source = match found.source {
            LoopSource::Observed => "observed",
            LoopSource::Status => "status",
        };
        let bad_ends = i64::try_from(found.bad_ends).unwrap_or(i64::MAX);
        let mut attributes = vec![
            (
                "wellhead.container.crash_loop.source",
                Value::Static(source),
            ),
            (
                "wellhead.container.crash_loop.bad_ends",
                Value::Int(bad_ends),
            ),
        ];
        attributes.extend(restart_count(restarts));
        if let Some(last) = last {
            attributes.extend(ended_as(last.status, ENDED_AS));
            if last.oom_killed {
                attributes.push(OOM_KILLED);
            }
            if let Some(ran) = last.ran_ns {
                attributes.push(("wellhead.duration", nanoseconds(ran)));
            }
        }
        Self {
            time_unix_nano,
            name: CRASH_LOOP,
            severity: Severity::Error,
            attributes,
            arguments: None,
        }
    }
}

fn ended_as(
    status: Option<ExitStatus>,
    keys: (&'static str, &'static str),
) -> Option<(&'static str, Value)> {
    outcome(status?, keys)
}

fn restart_count(restarts: Option<u32>) -> Option<(&'static str, Value)> {
    Some(("k8s.container.restart_count", number(restarts?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_says_how_it_ended() {
        let check = |status: Option<ExitStatus>, oom_kills: u32, expected: Severity| {
            let ended = Ended {
                at: 0,
                status,
                process: None,
                executable: None,
                ran_ns: None,
                oom_kills,
            };
            let event = LiveEvent::of_container_exit(&ended, 0);
            assert_eq!(event.severity, expected, "{ended:?}");
        };
        check(Some(ExitStatus::Code(0)), 0, Severity::Info);
        check(Some(ExitStatus::Code(1)), 0, Severity::Warn);
        check(Some(ExitStatus::Signal(15)), 0, Severity::Warn);
        check(Some(ExitStatus::Signal(9)), 1, Severity::Error);
        check(Some(ExitStatus::Code(0)), 2, Severity::Error);
        check(Some(ExitStatus::Unknown), 0, Severity::Info);
        check(None, 0, Severity::Info);
    }
}
