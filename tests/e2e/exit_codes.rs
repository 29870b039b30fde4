//! What keeps an agent from starting, and what does not: each with its exit code and a message that names it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::{
    Agent, Container, Finished, Need, Programs, eventually, finish, ready, refused, until,
    wellhead, wrapped,
};

/// Root without a single capability.
pub(crate) const POWERLESS: &[&str] = &["setpriv", "--inh-caps=-all", "--bounding-set=-all"];

/// A mount namespace of its own, in which something is done first.
pub(crate) fn after(preparation: &str) -> Vec<String> {
    let script = format!(r#"{preparation} && exec "$@""#);
    ["unshare", "--mount", "sh", "-c", &script, "sh"]
        .map(str::to_owned)
        .into()
}

/// `wellhead run` on a port of its own, to its end.
fn run(wrapper: &[&str], directory: &Path, settings: &[&str]) -> Finished {
    let directory = format!("runtime_directory={}", directory.display());
    let fixed = [
        directory.as_str(),
        "prometheus.listen=127.0.0.1:0",
        "kubernetes.mode=off",
    ];
    let mut words = vec!["run"];
    for setting in fixed.iter().chain(settings) {
        words.extend(["--set", setting]);
    }
    finish(&mut wrapped(wrapper, &words))
}

fn uninstall(wrapper: &[&str], directory: &Path) -> Finished {
    let directory = format!("runtime_directory={}", directory.display());
    finish(&mut wrapped(wrapper, &["uninstall", "--set", &directory]))
}

#[test]
fn what_cannot_be_written_is_an_error_unless_nobody_reads() {
    let check = |words: &[&str], output: Stdio, code: i32, complaint: &str| {
        let ended = wellhead(words).stdout(output).output().expect("it ran");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(complaint), "{words:?}: {said}");
    };
    let commands: [&[&str]; 5] = [
        &["--version"],
        &["help"],
        &["config", "print"],
        &["config", "schema"],
        &[
            "uninstall",
            "--set",
            "runtime_directory=/nonexistent/wellhead",
        ],
    ];
    let full = || fs::File::options().write(true).open("/dev/full");
    let complaint = "cannot write to standard output: No space left";
    for words in commands {
        check(words, full().expect("/dev/full").into(), 70, complaint);
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        check(words, writer.into(), 0, "");
    }
    if !ready(&[]) {
        return;
    }
    for words in [
        &["doctor"][..],
        &["doctor", "--json"],
        &["events", "--kind=fork"],
    ] {
        let enough = thread::spawn(|| {
            let program = Programs::new().link("/bin/true", "full");
            // Events are printed as they come.
            for _ in 0..50 {
                program.run(&[]);
                thread::sleep(Duration::from_millis(100));
            }
        });
        check(words, full().expect("/dev/full").into(), 70, complaint);
        enough.join().expect("ran");
    }
}

#[test]
fn without_capabilities_it_says_which() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let missing = ["CAP_BPF", "CAP_PERFMON"];
    run(POWERLESS, &home.path().join("run"), &[]).check(77, &missing);
    // Nor may it use somebody else's directory; what stands in the way first of all is said first.
    let foreign = home.path().join("foreign");
    fs::create_dir(&foreign).expect("a directory");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o700)).expect("changed");
    chown(&foreign, Some(65_534), Some(65_534)).expect("given away");
    run(POWERLESS, &foreign, &[]).check(77, &missing);
    uninstall(POWERLESS, &foreign).check(77, &["runtime_directory", "Permission denied"]);
    let setting = format!("runtime_directory={}", home.path().join("none").display());
    let events = ["events", "--set", &setting, "--set", "kubernetes.mode=off"];
    finish(&mut wrapped(POWERLESS, &events)).check(77, &missing);
}

#[test]
fn without_btf_and_tracefs_nothing_can_be_captured() {
    if !ready(&[Need::Program("unshare")]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let hidden = after(
        "{ umount --all --lazy --types tracefs || true; } && mount -t tmpfs none /sys/kernel/btf",
    );
    let hidden: Vec<&str> = hidden.iter().map(String::as_str).collect();
    let both = [
        "no BTF at /sys/kernel/btf/vmlinux",
        "tracefs is not mounted at /sys/kernel/tracing",
    ];
    run(&hidden, home.path(), &[]).check(69, &both);
    let doctor = ["doctor", "--set", "kubernetes.mode=off"];
    let doctor = finish(&mut wrapped(&hidden, &doctor));
    doctor.check(1, &[]);
    assert!(
        doctor.stdout.contains("no BTF at /sys/kernel/btf/vmlinux"),
        "{doctor:?}"
    );
}

#[test]
fn tracefs_is_not_needed() {
    if !ready(&[Need::Program("unshare")]) {
        return;
    }
    let without = after("{ umount --all --lazy --types tracefs || true; }");
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    let agent = Agent::builder().wrapper(&without).start();
    let tracefs = &agent.status()["environment"]["tracefs"]["value"];
    assert_eq!(tracefs, "not mounted");
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(3, &[]);
    let name = [("process_executable_name", &*program.name)];
    assert_eq!(
        agent.metrics().sum("wellhead_process_execs_total", &name),
        3
    );
}

#[test]
fn without_cgroup_v2_what_ran_before_counts_for_the_node() {
    if !ready(&[Need::Program("unshare"), Need::Cgroups]) {
        return;
    }
    let container = Container::new();
    let program = Programs::new().link("/bin/true", "true");
    // Runs the program once for each line it is sent.
    let mut older = container
        .command(Path::new("/bin/sh"))
        .args(["-c", r#"echo; while read -r line; do "$0"; echo; done"#])
        .arg(&program.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = older.stdin.take().expect("a pipe");
    let mut done = BufReader::new(older.stdout.take().expect("a pipe")).lines();
    done.next().expect("in its cgroup").expect("read");

    let without = after("umount --all --lazy --types cgroup2");
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    let agent = Agent::builder().wrapper(&without).start();
    let name = [("process_executable_name", &*program.name)];
    // Long enough for what is unknown to be looked for more than once.
    for expected in 1..=25 {
        input.write_all(b"\n").expect("sent");
        done.next().expect("an end").expect("read");
        let page = agent.metrics();
        let counted: Vec<_> = page.select("wellhead_process_execs_total", &name).collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert_eq!(counted[0].value, expected.to_string());
        assert!(
            !counted[0].labels.contains_key("container_id"),
            "{counted:?}"
        );
        thread::sleep(Duration::from_millis(100));
    }
    let log = agent.log();
    let said = log.matches("no cgroup2 file system is mounted").count();
    assert_eq!(said, 1, "said once: {log}");
    let cgroups = &agent.status()["environment"]["cgroups"]["value"];
    assert!(cgroups == "legacy" || cgroups == "absent", "{cgroups}");
    drop(input);
    older.wait().expect("an end");
}

#[test]
fn a_port_in_use_is_named() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let listen = format!("prometheus.listen={address}");
    run(&[], home.path(), &[&listen]).check(98, &[&address, "prometheus.listen", "in use"]);
    let elsewhere = "prometheus.listen=192.0.2.1:9464";
    run(&[], home.path(), &[elsewhere]).check(64, &["192.0.2.1:9464", "prometheus.listen"]);
}

#[test]
fn a_second_agent_says_that_there_is_a_first() {
    if !ready(&[]) {
        return;
    }
    let first = Agent::start();
    let second = run(&[], &first.directory, &[]);
    second.check(75, &["another wellhead agent", "wellhead.lock"]);
    assert_eq!(first.get("/healthz").status, 200);
    assert!(
        first.socket().exists(),
        "the second leaves the first one's socket alone"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("file");
    fs::write(&file, "").expect("written");
    let below = file.join("run");
    run(&[], &below, &[]).check(64, &["runtime_directory", &below.display().to_string()]);
}

#[test]
fn required_kubernetes_is_required() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let setting = format!("runtime_directory={}", home.path().display());
    let mut command = wellhead(&["run", "--set", &setting]);
    command
        .env("HOME", home.path())
        .env("WELLHEAD_KUBERNETES_MODE", "required")
        .env("WELLHEAD_PROMETHEUS_LISTEN", "127.0.0.1:0");
    finish(&mut command).check(69, &["Kubernetes"]);
}

#[test]
fn an_unreachable_api_server_is_told_of_once_and_by_the_agent() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let config = home.path().join("kubeconfig");
    let nobody = refused(0);
    let server = format!("https://127.0.0.1:{}", nobody.port);
    let content = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    fs::write(&config, content).expect("written");
    let agent = Agent::builder()
        .set("kubernetes.mode", "auto")
        .env("KUBECONFIG", config.display())
        .start();
    until("a second attempt", || {
        let attempts = agent.log().matches("watching failed; trying again").count();
        (attempts > 1).then_some(())
    });
    let log = agent.log();
    // What the client library says of each request.
    assert!(!log.contains("failed with error"), "{log}");
    let mut told = log.lines().filter(|line| line.contains("watching failed"));
    assert!(
        told.all(|line| line.contains("Connection refused")),
        "{log}"
    );
}

#[test]
fn an_unreachable_collector_stops_nothing() {
    if !ready(&[]) {
        return;
    }
    let nobody = refused(0);
    let agent = Agent::builder()
        .set("otlp.endpoint", format!("http://127.0.0.1:{}", nobody.port))
        .set("otlp.interval", "200ms")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(3, &[]);
    let failed = [("error_type", "connection"), ("wellhead_signal", "metrics")];
    eventually(
        "failures counted, and nothing else wrong",
        &(true, 3, 200),
        || {
            let page = agent.metrics();
            let name = [("process_executable_name", &*program.name)];
            (
                page.sum("wellhead_agent_export_failures_total", &failed) > 0,
                page.sum("wellhead_process_execs_total", &name),
                agent.get("/readyz").status,
            )
        },
    );
    assert!(agent.log().contains("OTLP export fails"), "{}", agent.log());
}

#[test]
fn a_machine_of_one_feature_still_runs() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::builder().set("features.tcp", "off").start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(2, &[]);
    let page = agent.metrics();
    let name = [("process_executable_name", &*program.name)];
    assert_eq!(page.sum("wellhead_process_execs_total", &name), 2);
    assert_eq!(
        page.select("wellhead_tcp_connections_opened_total", &[])
            .count(),
        0
    );
    let off = [("wellhead_feature", "tcp"), ("wellhead_state", "off")];
    assert_eq!(page.sum("wellhead_agent_feature", &off), 1);
}
