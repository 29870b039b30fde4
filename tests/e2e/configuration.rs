//! Configuration as users write it and get it wrong. Needs no privileges.

use std::fs;
use std::io::{self, Write as _};
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Finished, finish, wellhead};

/// A file with this content.
fn file(content: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wellhead.yaml");
    fs::write(&path, content).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (directory, path)
}

#[test]
fn a_pipe_that_is_passed_on_is_checked_and_one_that_may_never_end_is_refused() {
    let (directory, path) = file("snapshot_interval: 10s\n");
    let check = |input: Stdio| {
        let mut command = wellhead(&["config", "check", "/dev/stdin"]);
        finish(command.stdin(input))
    };
    check(fs::File::open(&path).expect("a file").into()).check(0, &[]);
    check(Stdio::null()).check(0, &[]);
    for (content, code) in [("snapshot_interval: 10s\n", 0), ("no: key\n", 64)] {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(content.as_bytes()).expect("written");
        drop(writer);
        check(reader.into()).check(code, &[]);
    }
    let fifo = directory.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
    let fifo = fifo.to_str().expect("UTF-8");
    for words in [["config", "check", fifo], ["run", "--config", fifo]] {
        finish(&mut wellhead(&words)).check(64, &[fifo, "neither a file nor a pipe"]);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |content: &str, words: &[&str]| {
        let (_directory, path) = file(content);
        for arguments in [
            ["config", "check", &path].as_slice(),
            &["run", "--config", &path],
        ] {
            let finished = finish(&mut wellhead(arguments));
            let place = format!("{path}:");
            finished.check(64, &["bad configuration", &place]);
            finished.check(64, words);
            assert_eq!(finished.stdout, "");
        }
    };
    check(
        "log:\n  level: [info\n",
        &["wellhead.yaml:2:", "no valid YAML"],
    );
    check("just words\n", &["wellhead.yaml:1:1", "must hold keys"]);
    check(
        "\nmemory_bugdet: 1GiB\n",
        &["wellhead.yaml:2:1", "did you mean `memory_budget`?"],
    );
    check(
        "log: {colour: red}\n",
        &["wellhead.yaml:1:7", "log.colour", "level, format"],
    );
    check(
        "snapshot_interval: 10\n",
        &["wellhead.yaml:1:1", "no unit", "`10s`"],
    );
    check(
        "shutdown_grace: 5parsecs\n",
        &["wellhead.yaml:1:1", "shutdown_grace", "5parsecs"],
    );
    check(
        "memory_budget: lots\n",
        &["wellhead.yaml:1:1", "memory_budget", "no size"],
    );
    check(
        "memory_budget: 1MiB\n",
        &["memory_budget", "at least `64MiB`"],
    );
    check(
        "features:\n  tls: on\n",
        &["wellhead.yaml:2:3", "features.tls", "not built"],
    );
    check("traces: {l7: on}\n", &["traces.l7", "not built"]);
    check(
        "prometheus: {listen: here}\n",
        &["prometheus.listen", "here"],
    );
    check(
        "otlp: {endpoint: \"ftp://x\"}\n",
        &["otlp.endpoint", "ftp://x"],
    );
    check(
        "features: {process: off, tcp: off, udp: off, dns: off, drops: off}\n",
        &["wellhead.yaml:1:1", "features", "nothing would be captured"],
    );
    check(
        "kubernetes:\n  labels: [team, a b]\n",
        &[
            "wellhead.yaml:2:18",
            "kubernetes.labels[1]",
            "`a b`",
            "allowed are letters",
        ],
    );
    // Everything that is wrong is said at once.
    check(
        "memory_budget: x\nlog: {level: y}\n",
        &["wellhead.yaml:1:1", "wellhead.yaml:2:7"],
    );
}

#[test]
fn variables_and_flags_are_named() {
    let check = |variable: (&str, &str), set: Option<&str>, words: &[&str]| {
        let mut arguments = vec!["config", "print"];
        arguments.extend(set.into_iter().flat_map(|set| ["--set", set]));
        let finished = finish(wellhead(&arguments).env(variable.0, variable.1));
        finished.check(64, words);
    };
    let none = ("WELLHEAD_CONFIG", "");
    check(
        ("WELLHEAD_LOG_LEVLE", "debug"),
        None,
        &["WELLHEAD_LOG_LEVLE", "did you mean `WELLHEAD_LOG_LEVEL`?"],
    );
    check(
        ("WELLHEAD_ANYTHING", "1"),
        None,
        &["WELLHEAD_ANYTHING", "no such variable"],
    );
    check(
        ("WELLHEAD_SHUTDOWN_GRACE", "5"),
        None,
        &["WELLHEAD_SHUTDOWN_GRACE", "shutdown_grace", "no unit"],
    );
    check(
        ("WELLHEAD_FEATURES_L7", "on"),
        None,
        &["WELLHEAD_FEATURES_L7", "not built"],
    );
    check(
        ("WELLHEAD_CONFIG", "/nonexistent.yaml"),
        None,
        &["/nonexistent.yaml", "No such file"],
    );
    check(none, Some("log.level=loud"), &["--set log.level", "loud"]);
    check(
        none,
        Some("features.tpc=on"),
        &["--set features.tpc", "did you mean `features.tcp`?"],
    );
    check(none, Some("nonsense"), &["KEY=VALUE"]);
}

#[test]
fn what_is_ignored_is_said() {
    let (_directory, path) = file("traces: {tcp: on}\n");
    for arguments in [
        ["config", "check", &path].as_slice(),
        &["config", "print", "--config", &path],
    ] {
        let variable = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
        let finished = finish(wellhead(arguments).env(variable.0, variable.1));
        let place = format!("warning: {path}:1:10: traces.tcp: has no effect");
        finished.check(0, &["warning: OTEL_EXPORTER_OTLP_PROTOCOL", "ignored"]);
        finished.check(0, &[&place]);
        assert!(!finished.stdout.contains("warning"), "{finished:?}");
    }
}

#[test]
fn the_command_line_is_checked_and_explained() {
    let run = |arguments: &[&str]| -> Finished { finish(&mut wellhead(arguments)) };
    run(&["rnu"]).check(64, &["rnu", "Usage"]);
    run(&["run", "--port", "1"]).check(64, &["--port"]);
    run(&[]).check(64, &["Usage"]);
    run(&["config", "check"]).check(64, &["<FILE>"]);
    run(&["config", "check", "/nonexistent.yaml"])
        .check(64, &["/nonexistent.yaml", "No such file"]);
    for arguments in [["--help"].as_slice(), &["help"], &["-h"]] {
        let help = run(arguments);
        help.check(0, &[]);
        for command in [
            "run",
            "doctor",
            "events",
            "config",
            "uninstall",
            "--config",
            "--set",
        ] {
            assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
        }
    }
    let help = run(&["events", "--help"]);
    help.check(0, &[]);
    for option in ["--kind", "--pod", "--count", "--duration"] {
        assert!(help.stdout.contains(option), "{option}: {}", help.stdout);
    }
    let version = run(&["--version"]);
    assert_eq!(
        version.stdout,
        format!("wellhead {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn what_is_printed_can_be_read_again() {
    let (_directory, path) = file(
        "log:\n  level: debug\notlp:\n  endpoint: http://collector:4318\n  headers: {authorization: s3cret}\n",
    );
    let checked = finish(&mut wellhead(&["config", "check", &path]));
    checked.check(0, &[]);
    assert_eq!(checked.stdout, format!("{path}: ok\n"));

    let print = |path: &str| {
        let mut command = wellhead(&[
            "config",
            "print",
            "--config",
            path,
            "--set",
            "series_limit=500",
        ]);
        finish(command.env("WELLHEAD_SHUTDOWN_GRACE", "7s"))
    };
    let printed = print(&path);
    printed.check(0, &[]);
    for line in [
        "  level: debug",
        "series_limit: 500",
        "shutdown_grace: 7s",
        "memory_budget: 128MiB",
    ] {
        assert!(
            printed.stdout.lines().any(|known| known == line),
            "{line}: {}",
            printed.stdout
        );
    }
    assert!(!printed.stdout.contains("s3cret"), "{}", printed.stdout);
    let (_again, path) = file(&printed.stdout);
    let again = print(&path);
    again.check(0, &[]);
    assert_eq!(again.stdout, printed.stdout);
}

#[test]
fn the_schema_knows_every_key() {
    let schema = finish(&mut wellhead(&["config", "schema"]));
    schema.check(0, &[]);
    let schema: Value = serde_json::from_str(&schema.stdout).expect("JSON");
    let keys = schema["properties"].as_object().expect("properties");
    for key in [
        "memory_budget",
        "features",
        "otlp",
        "prometheus",
        "traces",
        "rings",
        "runtime_directory",
    ] {
        assert!(keys.contains_key(key), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
