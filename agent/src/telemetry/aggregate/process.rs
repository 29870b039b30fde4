//! Counting processes.

use std::sync::Arc;

use super::{Occurrence, seconds};
use crate::events::{Exec, Exit, ExitStatus, OomKill, executable_name};
use crate::identity::Value;
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::signals::signal_name;
use crate::telemetry::store::{AttributesId, Store};

pub(super) fn forked(store: &mut Store, occurrence: &Occurrence<'_>) {
    let Occurrence {
        owner, unix_nano, ..
    } = *occurrence;
    store.add(
        Metric::ProcessForks,
        owner,
        AttributesId::EMPTY,
        1,
        unix_nano,
    );
}

pub(super) fn executed(store: &mut Store, occurrence: &Occurrence<'_>, exec: &Exec<'_>) {
    let name = occurrence.program.map_or_else(
        || executable_name(exec.file_name, exec.file_name_truncated, exec.comm).into(),
        Arc::clone,
    );
    let attributes = store.intern(&[(Attr::ProcessExecutableName, Value::Str(name))]);
    let Occurrence {
        owner, unix_nano, ..
    } = *occurrence;
    store.add(Metric::ProcessExecs, owner, attributes, 1, unix_nano);
}

pub(super) fn exited(store: &mut Store, occurrence: &Occurrence<'_>, exit: &Exit) {
    let Occurrence {
        owner,
        unix_nano,
        event,
        ..
    } = *occurrence;
    let executable = occurrence.executable(&exit.comm);
    let outcome = outcome(exit.status);
    let name = (Attr::ProcessExecutableName, executable);
    let attributes = match outcome {
        Some(outcome) => store.intern(&[name.clone(), outcome]),
        None => store.intern(std::slice::from_ref(&name)),
    };
    store.add(Metric::ProcessExits, owner, attributes, 1, unix_nano);

    if let Some(since) = exit.process.started_ns() {
        let attributes = store.intern(std::slice::from_ref(&name));
        let lived = seconds(event.boot_ns.saturating_sub(since));
        store.record(Metric::ProcessDuration, owner, attributes, lived, unix_nano);
    }
}

/// The attribute that says how a process ended, where that is known.
pub(super) fn outcome(status: ExitStatus) -> Option<(Attr, Value)> {
    match status {
        ExitStatus::Code(code) => Some((Attr::ProcessExitCode, Value::Int(i64::from(code)))),
        ExitStatus::Signal(signal) => Some((Attr::ProcessSignal, signal_name(signal))),
        ExitStatus::Unknown => None,
    }
}

pub(super) fn killed_for_memory(store: &mut Store, occurrence: &Occurrence<'_>, kill: &OomKill) {
    let Occurrence {
        owner, unix_nano, ..
    } = *occurrence;
    let attributes = store.intern(&[(
        Attr::ProcessExecutableName,
        occurrence.executable(&kill.comm),
    )]);
    store.add(Metric::ProcessOomKills, owner, attributes, 1, unix_nano);
}
