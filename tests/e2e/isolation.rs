//! Capture does not wait for anything else the agent does.

use std::fs;
use std::net::UdpSocket;

use crate::exit_codes::after;
use crate::support::{Agent, Need, Page, Programs, eventually, ready, until};

/// The thread that drains the rings, and those that work for it.
const PIPELINE: &str = "wellhead-rings";

/// Threads of an agent that a tracer holds still. They go on when this is dropped.
struct Held(Vec<libc::pid_t>);

impl Held {
    /// Holds all threads but the pipeline's.
    fn all_but_the_pipeline(agent: &Agent) -> Self {
        let tasks = format!("/proc/{}/task", agent.pid());
        let mut held = Self(Vec::new());
        for task in fs::read_dir(tasks).expect("threads") {
            let task = task.expect("a thread");
            let name = fs::read_to_string(task.path().join("comm")).expect("its name");
            if name.trim() != PIPELINE {
                let id = task.file_name();
                held.add(id.to_str().and_then(|id| id.parse().ok()).expect("its id"));
            }
        }
        held
    }

    fn add(&mut self, thread: libc::pid_t) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: neither request reads or writes memory of this process.
        let asked = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, thread, none, none) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none) == 0
        };
        assert!(asked, "{}", std::io::Error::last_os_error());
        self.0.push(thread);
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert!(stopped == thread && libc::WIFSTOPPED(status), "{status:#x}");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for thread in &self.0 {
            let none = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: as above. Fails only if the thread is gone.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, *thread, none, none) };
        }
    }
}

/// Records of processes that were read, and that were lost because their ring was full.
fn records(agent: &Agent) -> (u64, u64) {
    let status = agent.status();
    let count = |what: &str| {
        ["fork", "exec", "exit"]
            .iter()
            .map(|kind| status["records"][kind][what].as_u64().expect("a count"))
            .sum()
    };
    (count("read"), count("lost"))
}

/// Every thread that exports, serves, looks up or waits for receivers stands still, while far more happens than the ring has room
/// for: it is drained all the same.
#[test]
fn rings_are_drained_while_every_other_thread_stands_still() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::builder().set("rings.process_size", "64KiB").start();
    let program = Programs::new().link("/bin/true", "true");
    let (read_before, lost_before) = records(&agent);
    let held = Held::all_but_the_pipeline(&agent);
    assert!(held.0.len() >= 2, "{:?}", held.0);
    program.run_times(2_000, &[]);
    drop(held);

    let name = [("process_executable_name", program.name.as_str())];
    eventually("all of them", &2_000, || {
        let page = agent.metrics();
        page.sum("wellhead_process_execs_total", &name)
    });
    let (read, lost) = records(&agent);
    let (read, lost) = (read - read_before, lost - lost_before);
    // A ring that nobody drains has room for a few hundred.
    assert!(
        read >= 5_000 && lost < read / 10,
        "read {read}, lost {lost}"
    );
}

/// The receiver's name is asked of a server that never answers, again and again: what happens is counted and shown meanwhile.
#[test]
fn a_silent_name_server_holds_up_nothing() {
    if !ready(&[Need::Program("unshare")]) {
        return;
    }
    // Port 53 is the only one a resolver asks; nobody else has this address.
    let silent = UdpSocket::bind("127.83.83.83:53").expect("a port for root");
    let directory = tempfile::tempdir().expect("a directory");
    let resolver = directory.path().join("resolv.conf");
    let server = silent.local_addr().expect("its address").ip();
    let text = format!("nameserver {server}\noptions timeout:30 attempts:5\n");
    fs::write(&resolver, text).expect("written");
    let preparation = format!("mount --bind {} /etc/resolv.conf", resolver.display());
    let wrapper = after(&preparation);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let agent = Agent::builder()
        .wrapper(&wrapper)
        .set("otlp.endpoint", "http://collector.example:4317")
        .set("otlp.interval", "200ms")
        .set("otlp.timeout", "100ms")
        .set("traces.process", "on")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(3, &[]);
    let timeouts = |page: &Page, signal| {
        let labels = [("wellhead_signal", signal), ("error_type", "timeout")];
        page.sum("wellhead_agent_export_failures_total", &labels)
    };
    for signal in ["metrics", "traces"] {
        until("an attempt and another", || {
            let first = timeouts(&agent.metrics(), signal);
            (first > 0).then(|| {
                until("another", || {
                    (timeouts(&agent.metrics(), signal) > first).then_some(())
                });
            })
        });
    }
    let mut question = [0; 512];
    let (length, _) = silent.recv_from(&mut question).expect("a question");
    let asked = question[..length]
        .windows(9)
        .any(|name| name == b"collector");
    assert!(asked, "{:?}", &question[..length]);

    program.run_times(4, &[]);
    let name = [("process_executable_name", program.name.as_str())];
    eventually("all seven", &7, || {
        let page = agent.metrics();
        page.sum("wellhead_process_execs_total", &name)
    });
}
