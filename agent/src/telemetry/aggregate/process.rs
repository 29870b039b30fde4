//! Counting processes.

use std::sync::Arc;

use super::{Occurrence, seconds};
use crate::events::{Exec, Exit, ExitStatus, OomKill, executable_name};
use crate::identity::{Grown, MemoryLeft, OwnerId, Process, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::signals;
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
    let known = occurrence.process;
    let name = known.and_then(|process| process.executable.clone());
    let name = name.unwrap_or_else(|| exec.name().into());
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
    signals::outcome(status, (Attr::ProcessExitCode, Attr::ProcessSignal))
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

/// Counts what a process used since it was asked last.
pub(super) fn used(
    store: &mut Store,
    (owner, unix_nano): (OwnerId, u64),
    process: &Process,
    grown: &Grown,
) {
    let name = named(process.executable.as_ref());
    let times = [("user", grown.user_ns), ("system", grown.system_ns)];
    for (mode, nanoseconds) in times {
        if nanoseconds > 0 {
            let attributes = store.intern(&[(Attr::CpuMode, Value::Static(mode)), name.clone()]);
            let time = seconds(nanoseconds);
            store.add_seconds(Metric::ProcessCpuTime, owner, attributes, time, unix_nano);
        }
    }
    let bytes = [("read", grown.read_bytes), ("write", grown.write_bytes)];
    for (direction, bytes) in bytes {
        if bytes > 0 {
            let direction = (Attr::DiskIoDirection, Value::Static(direction));
            let attributes = store.intern(&[direction, name.clone()]);
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            store.add(Metric::ProcessDiskIo, owner, attributes, bytes, unix_nano);
        }
    }
    // Also where nothing changed: the series of what is there is not idle.
    if grown.has_memory {
        let attributes = store.intern(std::slice::from_ref(&name));
        let memory = grown.resident_bytes;
        let metric = Metric::ProcessMemoryUsage;
        store.add(metric, owner, attributes, memory, unix_nano);
    }
}

/// Takes off the memory that a process had as what it was before it executed a program.
pub(super) fn left_memory(store: &mut Store, left: &MemoryLeft, unix_nano: u64) {
    let attributes = store.intern(&[named(left.executable.as_ref())]);
    let bytes = i64::try_from(left.bytes).unwrap_or(i64::MAX);
    let metric = Metric::ProcessMemoryUsage;
    store.add(metric, left.owner, attributes, -bytes, unix_nano);
}

/// The name a program was called by, where it is known.
fn named(executable: Option<&Arc<str>>) -> (Attr, Value) {
    let name = executable.map_or_else(|| executable_name(&[], false, &[]).into(), Arc::clone);
    (Attr::ProcessExecutableName, Value::Str(name))
}
