//! How processes end: exactly one exit each, with the status their parent is told.

use std::{
    mem::offset_of,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wellhead::events::{Body, ProcessId};
use wellhead_common::record;
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    execute,
    require::say,
    workload,
};

/// What a child does after it was forked, and whether its parent has to kill it.
type Life = (&'static str, fn() -> i32, bool);

const LIVES: &[Life] = &[
    ("exits", || 0, false),
    ("exits with a code, without exec", || 4, false),
    ("exits with the largest code", || 255, false),
    ("is killed", sleep, true),
    (
        "is killed with many threads",
        || with_threads(8, |_| sleep()),
        true,
    ),
    ("dumps core", dump_core, false),
    ("aborts by signal without core", terminate, false),
    ("its leader exits first", leader_first, false),
    ("a thread exits the group", thread_exits_group, false),
    ("all threads exit at once", all_at_once, false),
    ("a thread executes", thread_executes, false),
];

pub(crate) fn all(directory: &[String]) -> Result<Value> {
    std::env::set_current_dir(directory.first().context("where to dump core?")?)?;
    let mut endings = Vec::new();
    for (name, life, is_killed) in LIVES {
        let child = execute::fork(life)?;
        if *is_killed {
            // Long enough for its threads to be there; any moment will do.
            thread::sleep(Duration::from_millis(20));
            let pid = rustix::process::Pid::from_raw(child).context("a pid")?;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        }
        let (pid, status) = execute::wait(child)?;
        endings.push(json!({ "name": name, "pid": pid, "status": status }));
    }
    Ok(Value::Array(endings))
}

pub(crate) fn are_as_wait_tells() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let mut tap = Tap::attach(&settings(Some(cgroup.id())))?;
    let place = directory.path().to_str().context("UTF-8")?;
    let endings = workload::run(&cgroup, "endings", &[place])?;
    // Exits are reported before a parent can know of them.
    tap.drain();
    let events = tap.events()?;

    let endings = endings.as_array().context("a list")?;
    assert_eq!(endings.len(), LIVES.len());
    for ending in endings {
        let name = ending["name"].as_str().context("a name")?;
        let pid = ending["pid"].as_u64().context("a pid")?;
        let is = |found: u32| u64::from(found) == pid;
        let forks: Vec<ProcessId> = events
            .iter()
            .filter_map(|(event, _)| match &event.body {
                Body::Fork(fork) if is(fork.child.pid) => Some(fork.child),
                _ => None,
            })
            .collect();
        assert_eq!(forks.len(), 1, "forks: {name}");
        let ended: Vec<ProcessId> = events
            .iter()
            .filter_map(|(event, _)| match &event.body {
                Body::Exit(exit) if is(exit.process.pid) => Some(exit.process),
                _ => None,
            })
            .collect();
        // Whichever thread was the last, the process is the one that was forked, and so started when that did.
        if name != "a thread executes" {
            assert_eq!(ended, forks, "who ended: {name}");
        }
        let execs = events
            .iter()
            .filter(|(event, _)| matches!(&event.body, Body::Exec(exec) if is(exec.process.pid)));
        let expected = usize::from(name == "a thread executes");
        assert_eq!(execs.count(), expected, "execs: {name}");
        let exits: Vec<i64> = events
            .iter()
            .filter(|(event, _)| matches!(&event.body, Body::Exit(exit) if is(exit.process.pid)))
            .map(|(_, record)| status(record))
            .collect::<Result<_>>()?;
        let told = ending["status"].as_i64().context("a status")?;
        assert_eq!(exits, [told], "exits: {name}");
        if name == "dumps core" && told & 0x80 == 0 {
            say("note: core files are not allowed here, so the core bit was not seen");
        }
    }
    let exits = events
        .iter()
        .filter(|(event, _)| matches!(event.body, Body::Exit(_)));
    assert_eq!(
        exits.count(),
        LIVES.len() + 1,
        "the workload's own is one more"
    );
    Ok(())
}

/// The raw status of an exit record; the event keeps only code or signal.
fn status(record: &[u8]) -> Result<i64> {
    let at = offset_of!(record::Exit, status);
    let bytes = record.get(at..at + 4).context("a whole record")?;
    Ok(i64::from(u32::from_ne_bytes(bytes.try_into()?)))
}

fn sleep() -> i32 {
    thread::sleep(Duration::from_secs(30));
    1
}

fn dump_core() -> i32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    let most = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if rustix::process::setrlimit(rustix::process::Resource::Core, most).is_err() {
        return 1;
    }
    die_of(libc::SIGSEGV)
}

fn terminate() -> i32 {
    die_of(libc::SIGTERM)
}

fn die_of(signal: i32) -> i32 {
    // SAFETY: restores the default action, whatever the runtime has installed, and raises the signal.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    1
}

/// Ends the calling thread and nothing else.
fn exit_thread(code: i32) -> i32 {
    // SAFETY: the thread holds nothing that another waits for.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    code
}

fn with_threads(count: i32, life: fn(i32) -> i32) -> i32 {
    for number in 0..count {
        thread::spawn(move || life(number));
    }
    sleep()
}

fn leader_first() -> i32 {
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(30));
        exit_thread(7)
    });
    exit_thread(5)
}

fn thread_exits_group() -> i32 {
    // SAFETY: ends the whole process.
    with_threads(1, |_| unsafe { libc::_exit(9) })
}

fn all_at_once() -> i32 {
    const THREADS: usize = 16;
    let together = Arc::new(Barrier::new(THREADS + 1));
    for _ in 0..THREADS {
        let together = Arc::clone(&together);
        thread::spawn(move || {
            together.wait();
            exit_thread(11)
        });
    }
    together.wait();
    exit_thread(12)
}

fn thread_executes() -> i32 {
    with_threads(1, |_| {
        let arguments = [c"true".as_ptr(), std::ptr::null()];
        // SAFETY: path and arguments are NUL-terminated and end with a null.
        unsafe { libc::execv(c"/bin/true".as_ptr(), arguments.as_ptr()) }
    })
}
