//! `wellhead record` and `wellhead replay`.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    Agent, Finished, Mount, Need, Page, Program, Programs, Receiver, Served, attribute, finish,
    kill, ready, until, wellhead, wrapped,
};

/// `wellhead record`, and what it said so far.
struct Recorder {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: thread::JoinHandle<()>,
}

impl Recorder {
    /// Starts it, and waits until it knows what was there before.
    fn start(file: &Path) -> Self {
        let file = file.to_str().expect("UTF-8");
        let mut command = wellhead(&["record", file, "--set", "kubernetes.mode=off"]);
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let stderr = child.stderr.take().expect("a pipe");
        let log = Arc::<Mutex<String>>::default();
        let shared = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = shared.lock().expect("nobody panics with it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let recorder = Self { child, log, reader };
        until("the recording to begin", || {
            recorder.log().contains("recording").then_some(())
        });
        recorder
    }

    fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// Has it end in order; its exit code and all it said.
    fn end(mut self) -> (Option<i32>, String) {
        terminate(&self.child);
        self.ended()
    }

    fn ended(&mut self) -> (Option<i32>, String) {
        let status = until("it to end", || self.child.try_wait().expect("a child"));
        until("all it says", || self.reader.is_finished().then_some(()));
        (status.code(), self.log())
    }
}

/// Work whose extent is known.
struct Work {
    program: Program,
    served: Served,
}

const EXECUTIONS: u64 = 6;
const CONNECTIONS: u64 = 9;
const UP: usize = 300;
const DOWN: usize = 70_000;

impl Work {
    fn do_it() -> Self {
        let program = Programs::new().link("/bin/true", "recorded");
        program.run_times(EXECUTIONS, &[]);
        let served = Served::new();
        served.exchange(CONNECTIONS, UP, DOWN);
        Self { program, served }
    }

    /// Checks that a page says so.
    fn check(&self, page: &Page) {
        let program = [("process_executable_name", self.program.name.as_str())];
        for metric in [
            "wellhead_process_execs_total",
            "wellhead_process_exits_total",
        ] {
            assert_eq!(page.sum(metric, &program), EXECUTIONS, "{metric}");
        }
        for reporter in ["source", "destination"] {
            let at = [
                ("destination_port", self.served.port.as_str()),
                ("wellhead_reporter", reporter),
            ];
            for metric in ["opened", "closed"] {
                let metric = format!("wellhead_tcp_connections_{metric}_total");
                assert_eq!(page.sum(&metric, &at), CONNECTIONS, "{metric} {reporter}");
            }
            let bytes = page.sum("wellhead_tcp_io_bytes_total", &at);
            assert_eq!(bytes, CONNECTIONS * (UP + DOWN) as u64, "{reporter}");
        }
    }
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("file.wellrec")
}

/// A recording of some work.
fn recorded(directory: &TempDir) -> (PathBuf, Work) {
    let file = file(directory);
    let recorder = Recorder::start(&file);
    let work = Work::do_it();
    let (code, log) = recorder.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("records in"), "{log}");
    (file, work)
}

fn replay(file: &Path, more: &[&str]) -> Finished {
    let file = file.to_str().expect("UTF-8");
    let words = ["replay", file, "--speed", "max", "--metrics"];
    let listen = ["--set", "prometheus.listen=127.0.0.1:0"];
    finish(&mut wellhead(&[&words[..], &listen, more].concat()))
}

#[test]
fn a_replay_makes_the_same_of_it_every_time() {
    if !ready(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (file, work) = recorded(&directory);
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = replay(&file, &[]);
    first.check(0, &["records of"]);
    work.check(&Page::parse(&first.stdout));
    let second = replay(&file, &[]);
    assert_eq!(first.stdout, second.stdout);

    // Nobody needs a privilege for that.
    for path in [directory.path(), &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
    ];
    let path = file.to_str().expect("UTF-8");
    let words = [
        "replay",
        path,
        "--speed=max",
        "--metrics",
        "--set=prometheus.listen=127.0.0.1:0",
    ];
    let third = finish(&mut wrapped(&nobody, &words));
    third.check(0, &[]);
    assert_eq!(first.stdout, third.stdout);

    // A recording is not written over.
    finish(&mut wellhead(&["record", path])).check(64, &["cannot make", "File exists"]);
}

#[test]
fn a_replay_exports_as_the_agent_does() {
    if !ready(&[Need::Python]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (file, work) = recorded(&directory);
    let receiver = Receiver::start();
    let endpoint = format!("otlp.endpoint={}", receiver.endpoint("grpc"));
    let words = [
        "--set",
        &endpoint,
        "--set",
        "otlp.protocol=grpc",
        "--set",
        "events.export=on",
        "--set",
        "events.rate_limit=off",
        "--set",
        "traces.process=on",
    ];
    replay(&file, &words).check(0, &[]);
    let name = work.program.name.as_str();
    let points = receiver.last_points();
    let execs = points.iter().filter(|point| {
        point["name"] == "wellhead.process.execs"
            && attribute(point, "process.executable.name") == name
    });
    let total: u64 = execs
        .map(|point| point["value"].as_u64().expect("whole"))
        .sum();
    assert_eq!(total, EXECUTIONS);
    let ours = |items: Vec<serde_json::Value>| {
        let ours = items
            .into_iter()
            .filter(|item| attribute(item, "process.executable.name") == name);
        ours.count() as u64
    };
    assert_eq!(ours(receiver.spans()), EXECUTIONS);
    assert_eq!(ours(receiver.log_records()), 2 * EXECUTIONS);
}

#[test]
fn a_daemon_beside_it_is_not_disturbed() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let directory = tempfile::tempdir().expect("a directory");
    let (file, work) = recorded(&directory);
    work.check(&Page::parse(&replay(&file, &[]).stdout));
    work.check(&agent.metrics());
}

#[test]
fn what_is_whole_of_a_recording_is_used() {
    if !ready(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (path, _) = recorded(&directory);
    let whole = fs::read(&path).expect("a file");

    fs::write(&path, &whole[..whole.len() - 7]).expect("written");
    replay(&path, &[]).check(1, &["records of", "ends in the middle of a block"]);
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&path, &damaged).expect("written");
    replay(&path, &[]).check(1, &["the checksum of a block is wrong"]);
    let mut newer = whole;
    newer[8] = 99;
    fs::write(&path, &newer).expect("written");
    replay(&path, &[]).check(
        64,
        &[
            "is of version 99",
            "replay it with the one that recorded it",
        ],
    );
    fs::write(&path, "something else altogether").expect("written");
    replay(&path, &[]).check(64, &["is no recording"]);
    replay(&directory.path().join("absent"), &[]).check(64, &["cannot open"]);
    replay(directory.path(), &[]).check(64, &["is no regular file"]);
    replay(Path::new("/dev/zero"), &[]).check(64, &["is no regular file"]);
    let slow = ["replay", "file", "--speed", "1e-9"];
    finish(&mut wellhead(&slow)).check(64, &["expected a number from 0.001 to 1000000"]);
}

/// Whoever stops it gets what there was until then.
#[test]
fn a_replay_can_be_stopped() {
    if !ready(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (path, _) = recorded(&directory);
    let file = path.to_str().expect("UTF-8");
    let words = ["replay", file, "--speed", "0.001", "--metrics"];
    let listen = ["--set", "prometheus.listen=127.0.0.1:0"];
    let mut command = wellhead(&[&words[..], &listen].concat());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("it starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut log = String::new();
    while !log.contains("replaying") {
        assert!(stderr.read_line(&mut log).expect("text") > 0, "{log}");
    }
    terminate(&child);
    stderr.read_to_string(&mut log).expect("text");
    let finished = child.wait_with_output().expect("it ends");
    assert_eq!(finished.status.code(), Some(0), "{log}");
    assert!(log.contains("stopped before its end"), "{log}");
    let page = String::from_utf8(finished.stdout).expect("UTF-8");
    assert!(page.ends_with("# EOF\n"), "{page}");
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::TERM).expect("it runs");
}

#[test]
fn a_recorder_that_is_killed_leaves_what_it_had() {
    if !ready(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(&directory);
    let mut recorder = Recorder::start(&path);
    let work = Work::do_it();
    let length = || fs::metadata(&path).expect("a file").len();
    // What there was before is written once, and the work some seconds later.
    let before = length();
    until("the work on disk", || {
        (length() > before + 1_000).then_some(())
    });
    thread::sleep(std::time::Duration::from_secs(6));
    kill(&mut recorder.child);
    let replayed = replay(&path, &[]);
    replayed.check(1, &["was not ended in order"]);
    work.check(&Page::parse(&replayed.stdout));
}

#[test]
fn a_full_disk_ends_the_recording_and_is_told() {
    if !ready(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mount = Mount::sized(256, directory.path());
    let path = file(&directory);
    let mut recorder = Recorder::start(&path);
    let mut rest = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.path().join("rest"))
        .expect("a file");
    // Others fill it.
    while rest.write_all(&[0; 4096]).is_ok() {}
    let _work = Work::do_it();
    let (code, log) = recorder.ended();
    assert_eq!(code, Some(70), "{log}");
    assert!(
        log.contains("cannot write to") && log.contains("No space left"),
        "{log}"
    );
    replay(&path, &[]).check(1, &["records of"]);
    drop((rest, mount));
}
