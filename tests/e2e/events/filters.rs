//! Which events are printed, and how: of the daemon's as of its own.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Agent, Program, Programs, attribute, finish, ready, text, until, wellhead};

/// Programs that end in every way, of which one has a name with everything in it that has a meaning somewhere.
struct Ends {
    well: Program,
    ill: Program,
    odd: Program,
}

impl Ends {
    fn new() -> Self {
        let programs = Programs::new();
        let ill = programs.link("/bin/sh", "ill");
        let odd = format!("{}[a] ?&=%41+#\u{1b}[2J\u{9b}\u{202e}\n", ill.name);
        Self {
            well: programs.link("/bin/true", "well"),
            odd: programs.named("/bin/sh", &odd),
            ill,
        }
    }

    fn run(&self) {
        self.well.run(&[]);
        for command in ["exit 3", "exit 9", "kill -9 $$", "kill -34 $$"] {
            self.ill.run(&["-c", command]);
        }
        self.odd.run(&["-c", "exit 1", "a\r\n\u{7}"]);
    }
}

/// What is printed while the programs run, so many lines of it.
fn printed(source: &str, count: usize, flags: &[&str], ends: &Ends) -> Vec<String> {
    let count = count.to_string();
    let words = [
        &[
            "events",
            "--set",
            source,
            "--set",
            "kubernetes.mode=off",
            "--count",
            &count,
        ][..],
        flags,
    ];
    let mut child = wellhead(&words.concat())
        .env("TZ", "IST-5:30")
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let status = until("as many lines", || {
        ends.run();
        child.try_wait().expect("a child of ours")
    });
    assert_eq!(status.code(), Some(0), "{flags:?}");
    let mut text = String::new();
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut text).expect("UTF-8");
    text.split_terminator('\n').map(str::to_owned).collect()
}

/// How a process ended that an event tells of, in a word.
fn ending(line: &str) -> (String, String) {
    let event: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(text(&event, "name"), "wellhead.process.exit", "{line}");
    let ending = match attribute(&event, "wellhead.process.signal") {
        Value::String(signal) => signal.clone(),
        _ => attribute(&event, "process.exit.code").to_string(),
    };
    (
        text(&event["attributes"], "process.executable.name").to_owned(),
        ending,
    )
}

#[test]
fn what_is_asked_for_is_printed_and_nothing_else() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let home = tempfile::tempdir().expect("a directory");
    let nowhere = format!("runtime_directory={}", home.path().join("run").display());
    let ends = Ends::new();
    let (ill, odd) = (ends.ill.name.as_str(), ends.odd.name.as_str());
    let all_of_ill = format!("{ill}*");
    for source in [&agent.directory_setting(), &nowhere] {
        let check = |flags: &[&str], expected: &[(&str, &str)]| {
            let lines = printed(source, 4, flags, &ends);
            assert_eq!(lines.len(), 4);
            for line in lines {
                let (program, ending) = ending(&line);
                assert!(expected.contains(&(&program, &ending)), "{flags:?}: {line}");
            }
        };
        let of_ill = |more| [&["--executable", ill, "--exit"][..], more].concat();
        check(
            &of_ill(&["failed"]),
            &[(ill, "3"), (ill, "9"), (ill, "SIGKILL"), (ill, "34")],
        );
        check(&of_ill(&["9"]), &[(ill, "9")]);
        check(&of_ill(&["kill", "--kind", "exit"]), &[(ill, "SIGKILL")]);
        check(&of_ill(&["SIG34"]), &[(ill, "34")]);
        check(&["--executable", &all_of_ill, "--exit", "1"], &[(odd, "1")]);
        check(&["--executable", odd, "--exit", "failed"], &[(odd, "1")]);
        check(
            &["--executable", &ends.well.name, "--exit", "0"],
            &[(&ends.well.name, "0")],
        );
        // Nothing here is in a namespace.
        let words = ["events", "--set", source, "--set", "kubernetes.mode=off"];
        let more = ["--namespace", "*", "--duration", "500ms"];
        let none = finish(&mut wellhead(&[&words[..], &more].concat()));
        none.check(0, &[]);
        assert_eq!(none.stdout, "");
    }
}

#[test]
fn columns_are_the_same_from_everywhere_and_do_no_harm() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let home = tempfile::tempdir().expect("a directory");
    let nowhere = format!("runtime_directory={}", home.path().join("run").display());
    let ends = Ends::new();
    let (ill, odd) = (ends.ill.name.as_str(), ends.odd.name.as_str());
    for source in [&agent.directory_setting(), &nowhere] {
        let columns = ["--output", "columns", "--executable"];
        let exits = printed(
            source,
            4,
            &[&columns[..], &[ill, "--exit", "3"]].concat(),
            &ends,
        );
        for line in &exits {
            // 2026-11-22T22:28:46.719+05:30
            let time = line.get(..29).expect("a time");
            assert!(
                time.ends_with("+05:30") && time.chars().nth(10) == Some('T'),
                "{line}"
            );
            assert!(line.contains("  process.exit  "), "{line}");
            assert!(line.contains(&format!("  {ill}[")), "{line}");
            assert!(line.contains("]  exit=3 took="), "{line}");
        }
        let hostile = printed(source, 6, &[&columns[..], &[odd]].concat(), &ends);
        let name = format!(r#"  "{ill}[a] ?&=%41+#\u{{1b}}[2J\u{{9b}}\u{{202e}}\n"["#);
        for line in &hostile {
            assert!(line.contains(&name), "{line}");
            assert!(
                !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
        }
        let execs = hostile
            .iter()
            .filter(|line| line.contains("  process.exec  "));
        let arguments = r#" -c "exit 1" "a\r\n\u{7}""#;
        assert!(execs.clone().count() > 0, "{hostile:?}");
        for line in execs {
            assert!(
                line.contains(" args: ") && line.ends_with(arguments),
                "{line}"
            );
        }
        // As JSON it is harmless, too.
        let flags = ["--executable", odd, "--kind", "exit"];
        for line in printed(source, 2, &flags, &ends) {
            assert!(
                !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
            assert_eq!(ending(&line), (odd.to_owned(), "1".to_owned()));
        }
    }
}

#[test]
fn what_a_daemon_does_not_know_it_refuses() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let ask = |query: &str| {
        let mut stream = UnixStream::connect(agent.socket()).expect("the daemon's socket");
        let request = format!("GET /api/v1/events?{query} HTTP/1.0\r\nhost: wellhead\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    for (query, said) in [
        ("colour=red", "unknown field `colour`"),
        ("kind=exek", "known are process.exec"),
        ("exit=ok", "from 0 to 255"),
        ("namespace=a%3Fb", "`a?b` has `?` in it"),
    ] {
        let answer = ask(query);
        assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
        assert!(answer.contains(said), "{answer}");
    }
}
