//! Where programs and maps are kept: whose it is, what is in the way, and that nothing is left of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::exit_codes::after;
use crate::support::{
    Agent, Finished, Mount, Need, Pins, Programs, finish, ready, text, until, wellhead, wrapped,
};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_second_agent_says_that_there_is_a_first() {
    if !ready(&[]) {
        return;
    }
    let pins = Pins::new();
    let agent = Agent::builder().pins(&pins).start();
    let program = Programs::new().link("/bin/true", "t");
    let run = |directory: &Path| {
        let [keep, place] = pins.settings();
        let runtime = format!("runtime_directory={}", directory.display());
        let listen = "prometheus.listen=127.0.0.1:0";
        let settings = [&keep, &place, &runtime, listen, "kubernetes.mode=off"];
        let settings: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
        finish(&mut wellhead(&[&["run"][..], &settings].concat()))
    };
    let home = tempfile::tempdir().expect("a directory");
    let place = pins.path().display().to_string();
    run(&home.path().join("other")).check(75, &["another wellhead agent runs here", &place]);
    run(&agent.directory).check(75, &["another wellhead agent runs here", "wellhead.lock"]);
    program.run_times(5, &[]);
    assert_eq!(
        execs(&agent, &program.name),
        5,
        "the first is not disturbed"
    );
}

#[test]
fn uninstall_removes_what_an_agent_keeps() {
    if !ready(&[Need::Program("bpftool"), Need::Program("setpriv")]) {
        return;
    }
    let pins = Pins::new();
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("run");
    let agent = Agent::builder().pins(&pins).directory(&directory).start();
    let kept = Kept::below(&pins);
    assert!(
        !kept.programs.is_empty() && !kept.maps.is_empty(),
        "{kept:?}"
    );
    assert_eq!(kept.programs.len(), kept.links.len(), "{kept:?}");
    assert!(kept.are_private, "{kept:?}");
    let place = pins.path().display().to_string();
    let busy = pins.uninstall(&directory);
    busy.check(75, &["another wellhead agent runs here", &place]);
    assert_eq!(agent.stop(Signal::TERM, SOON).code, Some(0));
    assert_eq!(Kept::below(&pins), kept, "all goes on without the agent");

    let nobody = ["setpriv", "--reuid=65534", "--clear-groups"];
    uninstall(&nobody, &pins, &directory).check(77, &[&place]);
    assert_eq!(Kept::below(&pins), kept);
    let removed = uninstall(&[], &pins, &directory);
    removed.check(0, &[]);
    assert_eq!(removed.stdout, "removed what was left of the agent\n");
    assert!(!pins.path().exists() && !directory.exists());
    until("the kernel to let go of them", || {
        kept.is_gone().then_some(())
    });
    let again = uninstall(&[], &pins, &directory);
    again.check(0, &[]);
    assert_eq!(again.stdout, "nothing to remove\n");
}

#[test]
fn an_agent_that_keeps_nothing_removes_what_was_kept() {
    if !ready(&[Need::Program("bpftool")]) {
        return;
    }
    let pins = Pins::new();
    let first = Agent::builder().pins(&pins).start();
    let kept = Kept::below(&pins);
    let beside = Agent::builder().pins(&pins).set("pins.keep", "off");
    let beside = beside.start();
    assert!(
        beside.log().contains("another wellhead agent"),
        "{}",
        beside.log()
    );
    drop(beside);
    assert_eq!(
        Kept::below(&pins),
        kept,
        "while the other runs they are its own"
    );
    first.stop(Signal::TERM, SOON);
    let alone = Agent::builder().pins(&pins).set("pins.keep", "off").start();
    assert!(!pins.path().exists(), "{}", alone.log());
    until("the kernel to let go of them", || {
        kept.is_gone().then_some(())
    });
}

#[test]
fn without_a_place_the_agent_runs_all_the_same() {
    if !ready(&[Need::Program("unshare")]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let ordinary = home.path().join("pins");
    cannot_keep(&[], &ordinary, "is not on a bpf filesystem");
    assert!(!ordinary.exists());
    let absent = after("mount -t tmpfs none /sys/fs/bpf");
    cannot_keep(&absent, Pins::new().path(), "is not on a bpf filesystem");
    let read_only =
        after("mount --bind /sys/fs/bpf /sys/fs/bpf && mount -o remount,bind,ro /sys/fs/bpf");
    cannot_keep(&read_only, Pins::new().path(), "Read-only file system");
}

#[test]
fn what_others_can_write_to_is_not_used() {
    if !ready(&[]) {
        return;
    }
    let elsewhere = tempfile::tempdir().expect("a directory");
    let others = elsewhere.path().join("others");
    fs::create_dir_all(others.join("maps")).expect("directories");
    fs::write(others.join("file"), "others'").expect("written");
    let words = "only this user can write to";

    let open = Foreign::directory();
    fs::set_permissions(&open.0, fs::Permissions::from_mode(0o777)).expect("changed");
    symlink(&others, open.0.join("v1")).expect("a link");
    cannot_keep(&[], &open.0, words);
    let given = Foreign::directory();
    chown(&given.0, Some(65_534), Some(65_534)).expect("given away");
    cannot_keep(&[], &given.0, words);
    let link = Foreign(Pins::new().path().to_owned());
    symlink(&given.0, &link.0).expect("a link");
    cannot_keep(&[], &link.0, words);

    // Nor does a link in a directory of our own lead anywhere.
    fs::set_permissions(&open.0, fs::Permissions::from_mode(0o700)).expect("changed");
    let pins = format!("pins.directory={}", open.0.display());
    let runtime = format!(
        "runtime_directory={}",
        elsewhere.path().join("run").display()
    );
    finish(&mut wellhead(&[
        "uninstall",
        "--set",
        &pins,
        "--set",
        &runtime,
    ]))
    .check(0, &[]);
    assert!(others.join("maps").exists() && others.join("file").exists());
}

#[test]
fn what_is_in_the_way_is_replaced_or_named() {
    if !ready(&[Need::Program("bpftool")]) {
        return;
    }
    let pins = Pins::new();
    let shared = pins.path().join("v1/maps");
    let maps = pins.path().join("v1/1/maps");
    for directory in [&shared, &maps] {
        fs::create_dir_all(directory).expect("directories");
    }
    let agent = |pins: &Pins| Agent::builder().pins(pins).start();
    let works = |agent: &Agent, state: &str| {
        let program = Programs::new().link("/bin/true", "t");
        program.run_times(3, &[]);
        assert_eq!(execs(agent, &program.name), 3);
        let restart = restart(&agent.status());
        assert_eq!(text(&restart, "state"), state, "{restart}");
    };
    // From the start, and among what another agent left.
    for _ in 0..2 {
        for name in ["CONNECTIONS", "NETWORK_RING", "SOMETHING"] {
            // A map of another type, size, and layout.
            drop(fs::remove_file(maps.join(name)));
            make_map(&maps.join(name));
        }
        let agent = agent(&pins);
        works(&agent, "on");
        agent.stop(Signal::TERM, SOON);
    }
    fs::remove_file(shared.join("STATE")).expect("there");
    make_map(&shared.join("STATE"));
    let anew = agent(&pins);
    works(&anew, "on");
    anew.stop(Signal::KILL, SOON);
    // A program where a map should be, a directory in place of a map, and a map in place of a link.
    let program = shared.join("COUNTS");
    fs::remove_file(&program).expect("there");
    let generation = pins.path().join(format!("v1/{}", pins.generation()));
    fs::rename(generation.join("cgroup_mkdir-program"), &program).expect("moved");
    let spill = generation.join("maps/SPILL");
    fs::remove_file(&spill).expect("there");
    fs::create_dir_all(spill.join("deeper")).expect("directories");
    let agent_again = agent(&pins);
    works(&agent_again, "on");
    agent_again.stop(Signal::TERM, SOON);
    let generation = pins.path().join(format!("v1/{}", pins.generation()));
    let link = generation.join("sched_process_exec-link");
    fs::remove_file(&link).expect("there");
    make_map(&link);
    let third = agent(&pins);
    works(&third, "on");
    third.stop(Signal::TERM, SOON);
    // For STATE's sake everything begins anew.
    fs::remove_file(shared.join("STATE")).expect("there");
    fs::create_dir(shared.join("STATE")).expect("a directory");
    let fourth = agent(&pins);
    works(&fourth, "on");
    assert!(fourth.log().contains("is not known"), "{}", fourth.log());
    fourth.stop(Signal::TERM, SOON);
}

/// Without a place for its pins an agent captures all the same, and nothing is counted again by the next that has one.
#[test]
fn what_cannot_be_removed_is_named() {
    if !ready(&[]) {
        return;
    }
    let pins = Pins::new();
    let agent = |pins: &Pins| Agent::builder().pins(pins).start();
    let first = agent(&pins);
    let generation = pins.generation() + 1;
    first.stop(Signal::TERM, SOON);
    let program = Programs::new().link("/bin/true", "t");
    program.run_times(3, &[]);
    let place = pins.path().join(format!("v1/{generation}"));
    fs::create_dir(&place).expect("a directory");
    let mount = Mount::over(&place);
    let without = agent(&pins);
    assert_eq!(text(&restart(&without.status()), "state"), "off");
    let path = pins.path().display().to_string();
    assert!(without.log().contains(&path), "{}", without.log());
    program.run_times(3, &[]);
    assert_eq!(execs(&without, &program.name), 3);
    without.stop(Signal::TERM, SOON);
    drop(mount);
    let last = agent(&pins);
    assert_eq!(text(&restart(&last.status()), "state"), "on");
    program.run_times(2, &[]);
    assert_eq!(execs(&last, &program.name), 2);
}

/// An agent runs without keeping anything; `doctor`, the status, the metrics, and the log say why.
fn cannot_keep(wrapper: &[String], directory: &Path, reason: &str) {
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let place = format!("pins.directory={}", directory.display());
    let agent = Agent::builder()
        .wrapper(&wrapper)
        .set("pins.keep", "on")
        .set("pins.directory", directory.display())
        .start();
    let program = Programs::new().link("/bin/true", "t");
    program.run_times(3, &[]);
    assert_eq!(execs(&agent, &program.name), 3);
    let off = [
        ("wellhead_feature", "restart"),
        ("wellhead_state", "off"),
        ("wellhead_mechanism", "none"),
    ];
    assert_eq!(agent.metrics().sum("wellhead_agent_feature", &off), 1);
    let words = ["doctor", "--json", "--set", &place, "--set", "pins.keep=on"];
    let settings = ["--set", "kubernetes.mode=off"];
    let doctor = finish(&mut wrapped(&wrapper, &[&words[..], &settings].concat()));
    doctor.check(1, &[]);
    let report: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    let (told, status) = (restart(&report), restart(&agent.status()));
    assert_eq!(text(&told, "state"), "off");
    assert!(text(&told, "reason").contains(reason), "{told}");
    assert_eq!(told, status);
    let log = agent.log();
    let line = log
        .lines()
        .find(|line| line.contains(r#"feature="restart""#));
    let line = line.expect("a line");
    assert!(line.contains("WARN") && line.contains(reason), "{line}");
    assert_eq!(agent.stop(Signal::TERM, SOON).code, Some(0));
}

/// What is told of restarts.
fn restart(report: &Value) -> Value {
    let features = report["features"].as_array().expect("a list");
    let found = features
        .iter()
        .find(|feature| text(feature, "feature") == "restart");
    found.expect("told").clone()
}

fn execs(agent: &Agent, name: &str) -> u64 {
    let name = [("process_executable_name", name)];
    agent.metrics().sum("wellhead_process_execs_total", &name)
}

fn uninstall(wrapper: &[&str], pins: &Pins, directory: &Path) -> Finished {
    let [_, place] = pins.settings();
    let runtime = format!("runtime_directory={}", directory.display());
    let words = ["uninstall", "--set", &place, "--set", &runtime];
    finish(&mut wrapped(wrapper, &words))
}

/// A directory, or a link, that is somebody else's; removed when dropped.
struct Foreign(PathBuf);

impl Foreign {
    fn directory() -> Self {
        let path = Pins::new().path().to_owned();
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // A link, or a directory with at most a link in it.
        drop(fs::remove_file(self.0.join("v1")));
        drop(fs::remove_file(&self.0));
        drop(fs::remove_dir(&self.0));
    }
}

/// What is pinned, by the kernel's ids.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    programs: BTreeSet<u64>,
    links: BTreeSet<u64>,
    maps: BTreeSet<u64>,
    /// Only their owner can open them, or list them.
    are_private: bool,
}

impl Kept {
    fn below(pins: &Pins) -> Self {
        let generation = pins.path().join(format!("v1/{}", pins.generation()));
        let mut maps = files(&pins.path().join("v1/maps"));
        maps.extend(files(&generation.join("maps")));
        let mut all = files(&generation);
        all.retain(|path| !path.is_dir());
        let (links, programs): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|path| path.to_string_lossy().ends_with("-link"));
        let modes = [&maps, &links, &programs].into_iter().flatten();
        let mut modes = modes
            .map(PathBuf::as_path)
            .chain([pins.path()])
            .map(|path| {
                let metadata = fs::metadata(path).expect("there");
                metadata.permissions().mode() & 0o077
            });
        Self {
            are_private: modes.all(|mode| mode == 0),
            programs: ids("prog", &programs),
            links: ids("link", &links),
            maps: ids("map", &maps),
        }
    }

    /// Whether the kernel knows none of them any more.
    fn is_gone(&self) -> bool {
        let known = |kind, ids: &BTreeSet<u64>| {
            ids.iter()
                .any(|id| bpftool(&[kind, "show", "id", &id.to_string()]).is_some())
        };
        !known("prog", &self.programs) && !known("link", &self.links) && !known("map", &self.maps)
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn ids(kind: &str, paths: &[PathBuf]) -> BTreeSet<u64> {
    let id = |path: &PathBuf| {
        let shown = bpftool(&[kind, "show", "pinned", &path.display().to_string()]);
        shown.and_then(|shown| shown["id"].as_u64()).expect("an id")
    };
    paths.iter().map(id).collect()
}

/// What `bpftool` says, unless it says that there is no such thing.
fn bpftool(arguments: &[&str]) -> Option<Value> {
    let output = Command::new("bpftool")
        .arg("--json")
        .args(arguments)
        .output();
    let output = output.expect("bpftool");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // Some kinds are told as a list of one.
    let said = said.get(0).cloned().unwrap_or(said);
    said.get("id").is_some().then_some(said)
}

fn make_map(path: &Path) {
    let path = path.display().to_string();
    let kind = ["type", "array", "key", "4", "value", "4", "entries", "1"];
    let made = Command::new("bpftool")
        .args(["map", "create", &path])
        .args(kind)
        .args(["name", "foreign"])
        .status();
    assert!(made.expect("bpftool").success());
}
