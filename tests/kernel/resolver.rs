//! Look-ups that unbound answers, counted exactly; and each takes no less than by unbound's own log, and no more than by the
//! clock of the program that asks.
//!
//! unbound asks a stand-in for the servers of the Internet, on another port than 53: it is in the cgroup that is watched, and there
//! its questions would be look-ups like any other.

use std::{
    env,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use wellhead::events::dns::lookups::TIMEOUT_NS;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{DEADLINE, Live, settings},
    cgroup::CgroupGuard,
    netns, require,
    snapshot::{number, seconds},
    workload,
};

use crate::dns::{A, RECURSION, RESPONSE, asked, look_up, lookups, message};

/// Names the program.
const UNBOUND: &str = "WELLHEAD_TEST_UNBOUND";

/// A type that asks for records of several types (RFC 1035, section 3.2.3). unbound takes no such questions. (Of other opcodes
/// it says that they are not implemented, but those are no look-ups.)
const MAILB: u16 = 253;

/// Look-ups by the second label of the name: how many, the type asked for, and what it counts as.
///
/// First those that unbound passes on. It takes the time once for all queries that it finds waiting, so the log would make
/// the first of these too long if those that it answers by itself came right before.
const KINDS: [(&str, usize, u16, &str); 7] = [
    ("fine", 650, A, ""),
    ("nxdomain", 50, A, "nxdomain"),
    ("servfail", 50, A, "servfail"),
    ("refused", 50, A, "refused"),
    ("formerr", 50, MAILB, "formerr"),
    ("silent", 100, A, "timeout"),
    ("large", 50, A, ""),
];

/// What the names lead to that have one address, and how many they have that are too large for a datagram.
const NAMED: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const LARGE: u8 = 50;

/// Where unbound asks.
const STAND_IN: u16 = 5_302;

/// How many milliseconds it is let wait there for the address of one name after the other.
const DELAYS: [u64; 5] = [0, 1, 3, 10, 30];

fn delay(name: &str) -> Option<Duration> {
    let time: usize = name.strip_prefix('n')?.parse().ok()?;
    Some(Duration::from_millis(DELAYS[time % DELAYS.len()]))
}

/// The workload: unbound, and everything that can be asked of it. Returns its log, and how many nanoseconds each name took.
pub(crate) fn ask(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    stand_in()?;
    let directory = tempfile::tempdir()?;
    let unbound = Unbound::start(directory.path())?;
    let (mut id, mut took) = (0, Map::new());
    for (kind, times, asked_for, _) in KINDS {
        for time in 0..times {
            id += 1;
            let name = format!("n{time}.{kind}.test");
            let query = message(id, RECURSION, (&name, asked_for), None);
            let start = Instant::now();
            look_up(&query, kind != "silent").with_context(|| name.clone())?;
            took.insert(name, u64::try_from(start.elapsed().as_nanos())?.into());
        }
    }
    Ok(json!({ "log": unbound.end()?, "took": took }))
}

/// Answers in a thread that ends with the process.
fn stand_in() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, STAND_IN))?;
    thread::spawn(move || -> Result<()> {
        let mut query = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut query)?;
            if let Some(answer) = answer(&query[..length]) {
                socket.send_to(&answer, from)?;
            }
        }
    });
    Ok(())
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (id, labels) = asked(query)?;
    let (code, address) = match *labels.get(1)? {
        "fine" => (0, Some(NAMED)),
        "servfail" => (2, None),
        _ => (3, None),
    };
    if address.is_some() {
        thread::sleep(delay(labels[0])?);
    }
    let flags = RESPONSE | RECURSION | code;
    Some(message(id, flags, (&labels.join("."), A), address))
}

/// A running unbound; killed when dropped.
struct Unbound<'a> {
    process: Child,
    directory: &'a Path,
}

impl<'a> Unbound<'a> {
    /// Starts it and waits until it answers.
    fn start(directory: &'a Path) -> Result<Self> {
        let file = directory.join("unbound.conf");
        fs::write(&file, configuration(directory)?)?;
        let program = env::var_os(UNBOUND).context(UNBOUND)?;
        let process = Command::new(program)
            .arg("-d")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .context("start unbound")?;
        let mut unbound = Self { process, directory };
        let start = Instant::now();
        while !unbound.log().contains("info: start of service") {
            if let Some(status) = unbound.process.try_wait()? {
                bail!("unbound ended: {status}: {}", unbound.log());
            }
            ensure!(start.elapsed() < DEADLINE, "unbound does not start");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(unbound)
    }

    fn log(&self) -> String {
        // There is none before it has begun.
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Ends it in its own way, since it answers first and writes its log then.
    fn end(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "unbound ended: {status}");
        Ok(self.log())
    }
}

impl Drop for Unbound<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

fn configuration(directory: &Path) -> Result<String> {
    let directory = directory.display();
    let mut text = format!(
        "server:
    interface: 127.0.0.1
    port: 53
    do-ip6: no
    do-daemonize: no
    num-threads: 1
    chroot: \"\"
    username: \"\"
    pidfile: \"\"
    directory: \"{directory}\"
    use-syslog: no
    logfile: \"{directory}/log\"
    log-queries: yes
    log-replies: yes
    do-not-query-localhost: no
    module-config: \"iterator\"
    local-zone: \"test.\" transparent
    local-zone: \"refused.test.\" refuse
    local-zone: \"silent.test.\" deny
    local-zone: \"large.test.\" redirect
"
    );
    for last in 1..=LARGE {
        writeln!(text, "    local-data: \"large.test. A 10.99.1.{last}\"")?;
    }
    text.push_str("remote-control:\n    control-enable: no\n");
    for zone in ["fine", "nxdomain", "servfail"] {
        writeln!(
            text,
            "forward-zone:\n    name: \"{zone}.test.\"\n    forward-addr: 127.0.0.1@{STAND_IN}"
        )?;
    }
    Ok(text)
}

/// An answer, as either side tells of it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    name: String,
    code: String,
    took: Duration,
}

/// What unbound's log says.
#[derive(Default)]
struct Log {
    /// Names that were asked for.
    asked: Vec<String>,
    answers: Vec<Answer>,
    /// Refusals to read a question: of those it tells no name.
    malformed: usize,
}

impl Log {
    fn read(text: &str) -> Result<Self> {
        let mut log = Self::default();
        // What follows this is the client and what it asked for.
        let lines = text
            .lines()
            .filter_map(|line| line.split_once(" info: 127.0.0.1 "));
        for (_, line) in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match *words {
                [name, _type, _class] => log.asked.push(name.trim_end_matches('.').to_owned()),
                ["-", "-", "-", "FORMERR", ..] => log.malformed += 1,
                [name, _type, _class, code, seconds, _is_cached, _length] => {
                    log.answers.push(Answer {
                        name: name.trim_end_matches('.').to_owned(),
                        code: code.to_lowercase(),
                        took: Duration::try_from_secs_f64(seconds.parse()?)?,
                    });
                }
                _ => bail!("unbound says: {line}"),
            }
        }
        log.asked.sort_unstable();
        log.answers.sort_unstable();
        Ok(log)
    }
}

/// What an event's attributes tell, if it is of an answer that unbound tells the name of.
fn answer_of(event: &Value) -> Option<Answer> {
    let code = event["error.type"].as_str().unwrap_or("noerror");
    let took = event["wellhead.duration"].as_u64()?;
    (code != "formerr").then_some(Answer {
        name: event["dns.question.name"].as_str()?.to_owned(),
        code: code.to_owned(),
        took: Duration::from_nanos(took),
    })
}

pub(crate) fn look_ups_are_in_its_log() -> Result<()> {
    if env::var_os(UNBOUND).is_none() {
        let reason = format_args!("{UNBOUND} names no unbound");
        return require::skip_if_bare("dns_of_a_real_resolver", &reason).map(drop);
    }
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&["dns.lookup"])?;
    let said = workload::run(&cgroup, "ask_unbound", &[])?;
    let log = Log::read(said["log"].as_str().context("a log")?)?;
    // What was truncated is asked twice.
    let all: usize = KINDS.iter().map(|(_, times, ..)| times).sum::<usize>() + 50;
    let read = live.snapshot_when("all look-ups", |read| lookups(read, &[]) >= number(all))?;
    assert_eq!(lookups(&read, &[]), number(all));
    for (kind, times, _, error) in KINDS
        .into_iter()
        .filter(|(_, _, _, error)| !error.is_empty())
    {
        let found = lookups(&read, &[(Attr::ErrorType, error)]);
        assert_eq!(found, number(times), "{kind}");
    }
    live.ensure_nothing_lost()?;
    let told = live.told(events)?;
    asked_as_logged(&told, &log)?;
    let mut answers: Vec<Answer> = told.iter().filter_map(answer_of).collect();
    answers.sort_unstable();
    took_no_less(&answers, &log.answers)?;
    took_no_more(&answers, &said["took"])?;
    // In the histogram, those that timed out waited until then.
    let durations = told
        .iter()
        .filter_map(|event| event["wellhead.duration"].as_u64());
    let sum = Duration::from_nanos(durations.sum::<u64>() + 100 * TIMEOUT_NS).as_secs_f64();
    let counted = seconds(&read, Metric::DnsLookupDuration, &[]);
    ensure!((counted - sum).abs() < 1e-6, "{counted} s, not {sum} s");
    Ok(())
}

/// Every look-up is told of, those without an answer too, and each as what it was.
fn asked_as_logged(told: &[Value], log: &Log) -> Result<()> {
    let with = |key: &str, value: &Value| told.iter().filter(|event| event[key] == *value).count();
    assert_eq!(with("wellhead.dns.truncated", &json!(true)), 50);
    assert_eq!(with("wellhead.dns.after_truncation", &json!(true)), 50);
    assert_eq!(with("network.transport", &json!("tcp")), 50);
    assert_eq!(with("dns.answers", &json!([NAMED.to_string()])), 650);
    assert_eq!(with("wellhead.dns.question.type", &json!("MAILB")), 50);
    assert_eq!(log.malformed, 50);
    let names = told
        .iter()
        .filter_map(|event| Some(event["dns.question.name"].as_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    ensure!(names == log.asked, "unbound was asked for other names");
    Ok(())
}

/// The answers are those of unbound's log, and took as long and the ways there and back. How long those are for one answer is
/// up to the scheduler, so their median alone is bounded.
fn took_no_less(ours: &[Answer], unbounds: &[Answer]) -> Result<()> {
    assert_eq!(ours.len(), unbounds.len());
    let mut ways = Vec::new();
    for (our, its) in ours.iter().zip(unbounds) {
        let is_same = our.name == its.name && our.code == its.code;
        ensure!(is_same, "{our:?}, and unbound says {its:?}");
        if let Some((label, "fine.test")) = its.name.split_once('.') {
            ensure!(Some(its.took) >= delay(label), "unbound says {its:?}");
        }
        let way = our.took.checked_sub(its.took);
        ways.push(way.with_context(|| format!("{our:?}, and unbound says {its:?}"))?);
    }
    ways.sort_unstable();
    let (median, longest) = (ways[ways.len() / 2], ways[ways.len() - 1]);
    require::say(format_args!(
        "{} answers took longer than unbound says: {median:?} is the median, {longest:?} the longest",
        ways.len()
    ));
    ensure!(median < Duration::from_millis(20), "{median:?} longer");
    Ok(())
}

/// Whoever asked had all answers for a name in this time, by its own clock. That bounds each, however busy the machine is.
fn took_no_more(ours: &[Answer], took: &Value) -> Result<()> {
    for of_name in ours.chunk_by(|one, next| one.name == next.name) {
        let sum: Duration = of_name.iter().map(|answer| answer.took).sum();
        let longest = took[&of_name[0].name].as_u64().context("a time")?;
        ensure!(
            sum <= Duration::from_nanos(longest),
            "{of_name:?}, and it took {longest} ns"
        );
    }
    Ok(())
}
