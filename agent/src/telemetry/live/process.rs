//! What events tell of processes.

use std::sync::Arc;

use wellhead_common::maps::SignalSeen;
use wellhead_common::record::Usage;

use super::super::capabilities;
use super::{Attributes, large, nanoseconds, number};
use crate::events::{Exec, Exit, ExitStatus, OomKill, executable_name};
use crate::identity::{Ancestor, Process, Value, executable_path, processor_time};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::signals::{outcome, signal_name};

pub(super) fn executed(occurrence: &Occurrence<'_>, exec: &Exec<'_>) -> Attributes {
    let known = occurrence.process;
    let name = exec.name();
    let path = known.and_then(|process| process.path.clone());
    let path = path.unwrap_or_else(|| executable_path(exec).into());
    let mut attributes = vec![("process.pid", number(exec.process.pid))];
    attributes.extend(exec.own_pid.map(|pid| ("process.vpid", number(pid))));
    attributes.extend(parent(exec.parent.pid));
    attributes.extend([
        ("process.user.id", number(exec.uid)),
        ("process.real_user.id", number(exec.real_uid)),
        ("wellhead.process.group.id", number(exec.gid)),
        ("process.executable.name", Value::Str(name.into())),
        ("process.executable.path", Value::Str(path)),
    ]);
    if !exec.interpreter.is_empty() {
        let script = String::from_utf8_lossy(exec.file_name);
        attributes.push(("wellhead.process.script", Value::Str(script.into())));
    }
    let directory = exec.directory.to_path();
    attributes.extend(directory.map(|path| ("process.working_directory", Value::Str(path.into()))));
    let flags = [
        (
            "wellhead.process.command_args.truncated",
            exec.arguments_truncated,
        ),
        (
            "wellhead.process.command_args.unreadable",
            exec.arguments_unreadable,
        ),
        (
            "wellhead.process.executable.deleted",
            exec.is_unlinked && !exec.is_in_memory,
        ),
        ("wellhead.process.executable.memfd", exec.is_in_memory),
        ("wellhead.process.user_namespace", exec.in_user_namespace),
    ];
    let set = flags.into_iter().filter(|(_, is_set)| *is_set);
    attributes.extend(set.map(|(key, _)| (key, Value::Bool(true))));
    let gained = known.map_or(0, |process| process.gained);
    if gained != 0 {
        let names = capabilities::names(gained);
        attributes.push(("wellhead.process.capabilities.gained", Value::List(names)));
    }
    attributes.extend(known.and_then(ancestors));
    attributes
}

/// Who a process descends from, the nearest first, such as `sh[4711]`.
fn ancestors(process: &Process) -> Option<(&'static str, Value)> {
    let line = process.ancestors();
    let name = |ancestor: &Ancestor| -> Arc<str> {
        let name = ancestor.executable.as_deref().unwrap_or("unknown");
        format!("{name}[{}]", ancestor.process.pid).into()
    };
    let names = line.iter().map(name).collect();
    (!line.is_empty()).then_some(("wellhead.process.ancestors", Value::List(names)))
}

/// Keys of how a process ended: its code, or its signal.
pub(in super::super) const ENDED_AS: (&str, &str) =
    ("process.exit.code", "wellhead.process.signal");

/// Attributes of the end of a process, which its span has as well.
pub(in super::super) fn exited(occurrence: &Occurrence<'_>, exit: &Exit) -> Attributes {
    let mut attributes = vec![("process.pid", number(exit.process.pid))];
    attributes.extend(parent(exit.parent_pid));
    attributes.push(("process.user.id", number(exit.uid)));
    push_executable(&mut attributes, occurrence, &exit.comm);
    attributes.extend(outcome(exit.status, ENDED_AS));
    if exit.dumped_core {
        attributes.push(("wellhead.process.core_dumped", Value::Bool(true)));
    }
    if occurrence.process.is_some_and(|process| process.oom_killed) {
        attributes.push(("wellhead.process.oom_killed", Value::Bool(true)));
    }
    push_senders(&mut attributes, occurrence, exit);
    if let Some(since) = exit.process.started_ns() {
        let lived = occurrence.event.boot_ns.saturating_sub(since);
        attributes.push(("wellhead.duration", nanoseconds(lived)));
        push_usage(&mut attributes, &exit.usage);
        let (sent, received) = occurrence.process.map_or((0, 0), |process| process.network);
        attributes.extend([
            ("wellhead.process.network.sent", large(sent)),
            ("wellhead.process.network.received", large(received)),
        ]);
    }
    attributes
}

/// Who sent the signal that ended it; and who asked it to end before, whatever it made of that.
fn push_senders(attributes: &mut Attributes, occurrence: &Occurrence<'_>, exit: &Exit) {
    let signals = &exit.signals;
    let is_of_process = |seen: &&SignalSeen| is_of_process(occurrence, exit, seen);
    let ended_by = [&signals.forced, &signals.asked]
        .into_iter()
        .filter(is_of_process)
        .find(|seen| exit.status == ExitStatus::Signal(u8::try_from(seen.signal).unwrap_or(0)));
    attributes.extend(ended_by.into_iter().flat_map(sent_by));
    let asked = Some(&signals.asked).filter(is_of_process);
    let Some(seen) = asked.filter(|asked| ended_by.is_none_or(|by| by != *asked)) else {
        return;
    };
    let signal = u8::try_from(seen.signal).unwrap_or(0);
    let ago = occurrence.event.boot_ns.saturating_sub(seen.sent_ns);
    attributes.extend([
        ("wellhead.process.asked.signal", signal_name(signal)),
        ("wellhead.process.asked.sender.pid", number(seen.sender_pid)),
        ("wellhead.process.asked.sender.name", sender(seen)),
        ("wellhead.process.asked.ago", nanoseconds(ago)),
    ]);
}

/// Whether a signal was sent to a process that ended, and not to an earlier one of the same process id.
pub(in super::super) fn is_of_process(
    occurrence: &Occurrence<'_>,
    exit: &Exit,
    seen: &SignalSeen,
) -> bool {
    let lived = exit.process.start_ns..=occurrence.event.boot_ns;
    seen.sent_ns != 0 && lived.contains(&seen.sent_ns)
}

/// Who sent a signal.
pub(in super::super) fn sent_by(seen: &SignalSeen) -> [(&'static str, Value); 3] {
    let (pid, uid) = (number(seen.sender_pid), number(seen.sender_uid));
    [
        ("wellhead.process.signal.sender.pid", pid),
        ("wellhead.process.signal.sender.name", sender(seen)),
        ("wellhead.process.signal.sender.user.id", uid),
    ]
}

fn sender(seen: &SignalSeen) -> Value {
    let name = executable_name(&[], false, &seen.sender.bytes()).into_owned();
    Value::Str(name.into())
}

fn push_usage(attributes: &mut Attributes, usage: &Usage) {
    let (user_ns, system_ns) = processor_time(usage);
    attributes.extend([
        ("wellhead.process.cpu.user", nanoseconds(user_ns)),
        ("wellhead.process.cpu.system", nanoseconds(system_ns)),
        ("wellhead.process.memory.peak", large(usage.peak_bytes)),
        ("wellhead.process.faults.minor", large(usage.minor_faults)),
        ("wellhead.process.faults.major", large(usage.major_faults)),
        (
            "wellhead.process.switches.voluntary",
            large(usage.voluntary_switches),
        ),
        (
            "wellhead.process.switches.forced",
            large(usage.forced_switches),
        ),
        ("wellhead.process.disk.read", large(usage.read_bytes)),
        ("wellhead.process.disk.written", large(usage.write_bytes)),
    ]);
}

/// The parent; no process but the first has 0, which otherwise stands for unknown.
fn parent(pid: u32) -> Option<(&'static str, Value)> {
    (pid != 0).then(|| ("process.parent_pid", number(pid)))
}

pub(super) fn killed_for_memory(occurrence: &Occurrence<'_>, kill: &OomKill) -> Attributes {
    let mut attributes = vec![("process.pid", number(kill.pid))];
    push_executable(&mut attributes, occurrence, &kill.comm);
    attributes.extend(memory_of_victim(kill));
    attributes
}

/// What the kernel tells of why it chose to kill a process.
pub(in super::super) fn memory_of_victim(kill: &OomKill) -> Attributes {
    let Some(memory) = kill.memory else {
        return Attributes::new();
    };
    let mut attributes = vec![
        ("wellhead.process.memory.anonymous", large(memory.anonymous)),
        ("wellhead.process.memory.file", large(memory.file)),
        ("wellhead.process.memory.shared", large(memory.shared)),
    ];
    let scope = match kill.limit {
        Some(limit) if limit.level == 0 => "cgroup",
        Some(_) => "parent",
        None => "node",
    };
    attributes.push(("wellhead.oom.scope", Value::Static(scope)));
    if let Some(limit) = kill.limit {
        attributes.extend([
            ("wellhead.oom.limit", large(limit.limit)),
            ("wellhead.oom.usage", large(limit.charged)),
        ]);
    }
    attributes
}

fn push_executable(attributes: &mut Attributes, occurrence: &Occurrence<'_>, comm: &[u8]) {
    attributes.push(("process.executable.name", occurrence.executable(comm)));
    let known = occurrence.process;
    if let Some(path) = known.and_then(|process| process.path.clone()) {
        attributes.push(("process.executable.path", Value::Str(path)));
    }
}
