//! Minutes of mixed load: memory stays what it is, nothing is discarded, and no connection is counted that is not there.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use wellhead::kernel::live_tcp_connections;

use crate::support::{Agent, Container, Need, Page, Pins, Programs, ready, refused, until};

/// How long, unless `WELLHEAD_SOAK_MINUTES` says otherwise.
const MINUTES: u64 = 10;
const SAMPLE: Duration = Duration::from_secs(10);

/// Connections that stay open all the time, most of them idle.
const IDLE: usize = 500;
/// Others that are open for a while.
const LONG: usize = 200;
/// By how much the memory of the last third may exceed that of the first: caches and tables that fill up. They do so in
/// steps, the largest seen 900 KiB at once when a table doubled after five minutes; so within ten minutes the slope of a
/// line through the samples says more about when that was than about leaks, and is not checked.
const GROWTH: u64 = 4 << 10;

/// How often the kernel may skip a program (it interrupts its own first instructions), and for how many connections once
/// more; seen: 2 for 166 000.
const SKIPPED: u64 = 2;
const SELDOM: u64 = 20_000;

/// Memory in KiB and counts at one moment.
#[derive(Debug)]
struct Sample {
    at: Duration,
    rss: u64,
    anonymous: u64,
    active: i64,
    /// What the kernel counted just before and just after.
    kernel: [i64; 2],
    /// By how many connections these may differ: what changed meanwhile.
    blurred: i64,
    drift: [Option<i64>; 3],
    discards: BTreeMap<(String, String), u64>,
    completeness: Vec<String>,
    load: [u64; 3],
}

const INVARIANTS: [&str; 3] = ["tcp_balance", "tcp_active_series", "tcp_active_kernel"];

impl Sample {
    fn take(agent: &Agent, start: Instant, load: &Load) -> Self {
        let done = load.done()[0];
        let before = in_kernel();
        let page = agent.metrics();
        let kernel = [before, in_kernel()];
        // Beside those that came and went: one of each thread that is open and not noted as done, and the one by which
        // the agent was asked.
        let changed = load.done()[0] - done + 3;
        let memory = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
        let drift = INVARIANTS.map(|name| drift(&page, name));
        let ratios = page.select("wellhead_agent_completeness_ratio", &[]);
        Self {
            at: start.elapsed(),
            rss: kibibytes(&memory, "VmRSS:"),
            anonymous: kibibytes(&memory, "RssAnon:"),
            active: total(&page, "wellhead_tcp_connections_active"),
            kernel,
            // Two ends each, old and new.
            blurred: 2 * i64::try_from(changed).expect("few"),
            drift,
            discards: discards(&page),
            completeness: ratios.map(|sample| sample.value.clone()).collect(),
            load: load.done(),
        }
    }

    /// Nothing but what the kernel says it did not run the programs for (docs/limits.md): seldom, and completeness tells it.
    fn lost_only_what_was_skipped(&self) {
        let mut others = self.discards.clone();
        let mut kernel = |reason: &str| {
            let key = ("kernel".to_owned(), reason.to_owned());
            others.remove(&key).unwrap_or_default()
        };
        let skipped = kernel("recursion");
        let ends = kernel("end_missed");
        assert!(others.is_empty(), "{self:?}");
        assert!(ends <= skipped, "{self:?}");
        assert!(skipped <= SKIPPED + self.load[0] / SELDOM, "{self:?}");
        let all_told = self.completeness.iter().all(|ratio| ratio == "1");
        assert_eq!(all_told, skipped == 0, "{self:?}");
    }

    fn show(&self) -> String {
        let drift = self
            .drift
            .map(|drift| drift.map_or_else(|| "-".to_owned(), |drift| drift.to_string()));
        format!(
            "{:>5} {:>8} {:>8} {:>7} {:>7} {:>9} {:>8} {:>7} {:>11} {:>9} {:>7}",
            self.at.as_secs(),
            self.rss,
            self.anonymous,
            self.active,
            self.kernel[1],
            drift.join("/"),
            self.discards.values().sum::<u64>(),
            self.completeness.join("/"),
            self.load[0],
            self.load[1],
            self.load[2],
        )
    }
}

const HEADING: &str = "    s  RSS KiB anon KiB  active  kernel     drift discards complete connections      runs cgroups";

fn kibibytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn total(page: &Page, name: &str) -> i64 {
    let values = page.select(name, &[]);
    values
        .map(|sample| sample.value.parse::<i64>().expect("whole"))
        .sum()
}

fn drift(page: &Page, invariant: &str) -> Option<i64> {
    let labels = [("wellhead_invariant", invariant)];
    let mut found = page.select("wellhead_agent_invariant_drift", &labels);
    found
        .next()
        .map(|sample| sample.value.parse().expect("whole"))
}

/// By stage and reason, those that happened.
fn discards(page: &Page) -> BTreeMap<(String, String), u64> {
    let all = page.select("wellhead_agent_discards_total", &[]);
    let some = all.filter(|sample| sample.value != "0");
    some.map(|sample| {
        let label = |name: &str| sample.labels[name].clone();
        let number = sample.value.parse().expect("whole");
        ((label("wellhead_stage"), label("wellhead_reason")), number)
    })
    .collect()
}

fn in_kernel() -> i64 {
    let counted = live_tcp_connections(512, None).expect("/proc is there");
    let known = counted
        .namespaces
        .into_iter()
        .filter_map(|(_, counts)| counts.ok());
    let live: u64 = known.map(|counts| counts.live()).sum();
    i64::try_from(live).expect("few")
}

/// What is done all the time, each by a thread of its own.
#[derive(Debug, Default)]
struct Load {
    end: AtomicBool,
    connections: AtomicU64,
    runs: AtomicU64,
    cgroups: AtomicU64,
}

impl Load {
    fn done(&self) -> [u64; 3] {
        [&self.connections, &self.runs, &self.cgroups].map(|count| count.load(Ordering::Relaxed))
    }

    fn goes_on(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }

    /// Connections of a moment, some refused.
    fn short(&self) {
        let (listener, address) = listener();
        // One port for all: each port has series of its own.
        let closed = refused(1);
        let refuses = (Ipv4Addr::LOCALHOST, closed.port.parse().expect("a port"));
        while self.goes_on() {
            for _ in 0..20 {
                let (mut one, mut other) = pair(&listener, address);
                one.write_all(&[b'u'; 300]).expect("sent");
                other.read_exact(&mut [0; 300]).expect("received");
                self.connections.fetch_add(1, Ordering::Relaxed);
            }
            TcpStream::connect(refuses).expect_err("nobody listens");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Connections that live for seconds, a few bytes now and then; and some that never do anything.
    fn long(&self) {
        let (listener, address) = listener();
        let _idle: Vec<_> = (0..IDLE).map(|_| pair(&listener, address)).collect();
        let mut open: Vec<_> = (0..LONG).map(|_| pair(&listener, address)).collect();
        let mut next = 0;
        while self.goes_on() {
            let (one, other) = &mut open[next];
            one.write_all(&[b'u'; 100]).expect("sent");
            other.read_exact(&mut [0; 100]).expect("received");
            // Others end, and begin anew.
            if next % 4 == 0 {
                open[next] = pair(&listener, address);
                self.connections.fetch_add(1, Ordering::Relaxed);
            }
            next = (next + 1) % LONG;
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn programs(&self) {
        let programs = Programs::new();
        let program = programs.named("/bin/true", "wellhead-soak-true");
        while self.goes_on() {
            program.run(&[]);
            self.runs.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Containers that live for a moment.
    fn cgroups(&self) {
        while self.goes_on() {
            let container = Container::new();
            container.run(Path::new("/bin/true"));
            drop(container);
            self.cgroups.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(200));
        }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn pair(listener: &TcpListener, address: SocketAddr) -> (TcpStream, TcpStream) {
    let one = TcpStream::connect(address).expect("a connection");
    (one, listener.accept().expect("its other end").0)
}

#[test]
#[ignore = "takes minutes: cargo xtask test soak"]
fn mixed_load() {
    if !ready(&[Need::Cgroups]) {
        return;
    }
    let minutes = env::var("WELLHEAD_SOAK_MINUTES").ok();
    let minutes = minutes.map_or(MINUTES, |minutes| minutes.parse().expect("minutes"));
    let pins = Pins::new();
    let agent = Agent::builder()
        .pins(&pins)
        .set("snapshot_interval", "2s")
        // What containers that are gone leave behind reaches its level within the first third.
        .set("series_idle_timeout", "1m")
        .start();
    let load = Load::default();
    let samples = thread::scope(|scope| {
        let ending = EndWhenDropped(&load);
        for part in [Load::short, Load::long, Load::programs, Load::cgroups] {
            let load = &load;
            scope.spawn(move || part(load));
        }
        let samples = watch(&agent, &load, Duration::from_secs(60 * minutes));
        drop(ending);
        samples
    });
    check(&samples);
    at_rest(&agent);
}

/// Ends the load, also when a sample fails.
struct EndWhenDropped<'a>(&'a Load);

impl Drop for EndWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

fn watch(agent: &Agent, load: &Load, duration: Duration) -> Vec<Sample> {
    let start = Instant::now();
    let mut samples = Vec::new();
    eprintln!("{HEADING}");
    while start.elapsed() < duration {
        thread::sleep(SAMPLE.min(duration));
        let sample = Sample::take(agent, start, load);
        eprintln!("{}", sample.show());
        samples.push(sample);
    }
    samples
}

fn check(samples: &[Sample]) {
    for sample in samples {
        sample.lost_only_what_was_skipped();
        assert_eq!(sample.drift[..2], [Some(0); 2], "{sample:?}");
        // Known as soon as a namespace was quiet while it was counted.
        assert!(sample.drift[2].is_none_or(|drift| drift == 0), "{sample:?}");
        let [one, other] = sample.kernel;
        let expected = one.min(other) - sample.blurred..=one.max(other) + sample.blurred;
        assert!(expected.contains(&sample.active), "{sample:?}");
    }
    // In the first fifth tables fill up, until as much expires as comes.
    let warm = &samples[samples.len() / 5..];
    let third = warm.len().div_ceil(3);
    let first = median(&warm[..third]);
    let last = median(&warm[warm.len() - third..]);
    eprintln!("RSS when warm, median: {first} KiB in the first third, {last} KiB in the last");
    assert!(
        last <= first + GROWTH,
        "RSS grew from {first} to {last} KiB"
    );
}

fn median(samples: &[Sample]) -> u64 {
    let mut all: Vec<u64> = samples.iter().map(|sample| sample.rss).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// Without the load no check is off.
fn at_rest(agent: &Agent) {
    until("all invariants to hold", || {
        let page = agent.metrics();
        let drift = INVARIANTS.map(|name| drift(&page, name));
        (drift == [Some(0); 3]).then_some(())
    });
    eprintln!("at rest: no drift");
}
