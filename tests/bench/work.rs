//! What applications do, each in processes of its own that say how long it took: one on every processor, bound to it, and with
//! both ends of its connections in one thread. So nothing sleeps, nothing moves to another processor, and what is measured is the
//! time that the work takes, not how fast this machine wakes up whoever waits.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};
use serde_json::{Value, json};
use wellhead_tests::{cgroup::CgroupGuard, execute, netns, workload, workload::Workload};

use crate::spread::float;

pub(crate) const WORKLOADS: [(&str, Workload); 5] = [
    ("storm", storm),
    ("keep-alive", keep_alive),
    ("bulk", bulk),
    ("exec", exec),
    ("hold", hold),
];

/// Connections are made to so many addresses in turn, so that no port is waited for.
const ADDRESSES: u32 = 16;
/// One process holds so many connections, so that twice as many files are within what a process may usually have.
const AT_ONCE: u64 = 9_000;
const REQUEST: usize = 100;
const RESPONSE: usize = 1_000;
/// No more than what a connection takes while nobody reads.
const PIECE: usize = 32 << 10;
/// What is carried in bulk is counted in these.
const MEBIBYTE: u64 = 1 << 20;

/// Something that applications do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// What is counted.
    pub(crate) unit: &'static str,
    workload: &'static str,
    /// How much of it each processor does: about half a second.
    amount: u64,
}

/// The storm first.
pub(crate) const WORK: [Work; 4] = [
    Work {
        name: "connect storm",
        unit: "connection",
        workload: "storm",
        amount: 6_000,
    },
    Work {
        name: "requests over one connection",
        unit: "request",
        workload: "keep-alive",
        amount: 50_000,
    },
    Work {
        name: "bulk transfer",
        unit: "MiB",
        workload: "bulk",
        amount: 1_500,
    },
    Work {
        name: "execution storm",
        unit: "execution",
        workload: "exec",
        amount: 800,
    },
];

impl Work {
    /// Does it on all processors; how much was done a second.
    pub(crate) fn run(&self, cgroup: &CgroupGuard) -> Result<f64> {
        let amount = self.amount.to_string();
        let started: Vec<_> = (0..processors())
            .map(|processor| {
                let arguments = [amount.as_str(), "0", &processor.to_string()];
                workload::start(cgroup, self.workload, &arguments)
            })
            .collect::<Result<_>>()?;
        let rates = started.into_iter().map(|running| rate(&running.finish()?));
        rates.sum()
    }

    /// How much that is in all.
    pub(crate) fn amount(&self) -> u64 {
        self.amount * processors()
    }
}

fn processors() -> u64 {
    let processors = thread::available_parallelism();
    processors.map_or(1, |processors| processors.get() as u64)
}

/// Connections at so many a second at most (0: any number); how many a second there were.
pub(crate) fn paced_storm(cgroup: &CgroupGuard, connections: u64, rate_limit: u64) -> Result<f64> {
    let [connections, rate_limit] = [connections, rate_limit].map(|number| number.to_string());
    rate(&workload::run(
        cgroup,
        "storm",
        &[&connections, &rate_limit],
    )?)
}

/// Processes that hold connections open, both ends, until this is dropped. Returns when all are open.
pub(crate) fn hold_open(
    cgroup: &CgroupGuard,
    connections: u64,
    directory: &Path,
) -> Result<Vec<workload::Running>> {
    let mut left = connections;
    let mut holding = Vec::new();
    while left > 0 {
        let some = left.min(AT_ONCE);
        left -= some;
        let done = directory.join(format!("open-{connections}-{left}"));
        let arguments = [some.to_string(), done.display().to_string()];
        let mut running =
            workload::start(cgroup, "hold", &arguments.each_ref().map(String::as_str))?;
        while !done.exists() {
            thread::sleep(Duration::from_millis(20));
            running.ensure_alive()?;
        }
        holding.push(running);
    }
    Ok(holding)
}

fn rate(said: &Value) -> Result<f64> {
    let number = |key| said[key].as_u64().with_context(|| format!("no {key}"));
    Ok(float(number("operations")?) * 1e6 / float(number("microseconds")?.max(1)))
}

fn number(arguments: &[String], at: usize) -> Result<u64> {
    Ok(arguments.get(at).context("how many?")?.parse()?)
}

fn said(operations: u64, start: Instant) -> Result<Value> {
    let microseconds = u64::try_from(start.elapsed().as_micros())?;
    Ok(json!({ "operations": operations, "microseconds": microseconds }))
}

/// The third argument, if there is one, says on which processor to stay.
fn stay(arguments: &[String]) -> Result<()> {
    let Some(processor) = arguments.get(2) else {
        return Ok(());
    };
    let mut only = CpuSet::new();
    only.set(processor.parse()?);
    Ok(sched_setaffinity(None, &only)?)
}

/// Alone in its network namespace: a listener on every address.
fn listen() -> Result<(TcpListener, u16)> {
    netns::isolate()?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Opens connections one after the other, each for one request. The second argument: at most so many a second, 0 for any number.
fn storm(arguments: &[String]) -> Result<Value> {
    let connections = number(arguments, 0)?;
    let each = match number(arguments, 1)? {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(1.0 / float(rate)),
    };
    stay(arguments)?;
    let (listener, port) = listen()?;
    let start = Instant::now();
    for done in 0..connections {
        let due = each.mul_f64(float(done));
        if let Some(early) = due.checked_sub(start.elapsed()) {
            thread::sleep(early);
        }
        let last = u8::try_from(done % u64::from(ADDRESSES))? + 1;
        let mut client = TcpStream::connect((Ipv4Addr::new(127, 0, 0, last), port))?;
        let (mut server, _) = listener.accept()?;
        request(&mut client, &mut server)?;
    }
    said(connections, start)
}

fn request(client: &mut TcpStream, server: &mut TcpStream) -> Result<()> {
    client.write_all(&[b'q'; REQUEST])?;
    server.read_exact(&mut [0; REQUEST])?;
    server.write_all(&[b'r'; RESPONSE])?;
    Ok(client.read_exact(&mut [0; RESPONSE])?)
}

/// Two ends of a connection, with no delay on either.
fn connected() -> Result<(TcpStream, TcpStream)> {
    let (listener, port) = listen()?;
    let client = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    Ok((client, server))
}

fn keep_alive(arguments: &[String]) -> Result<Value> {
    let requests = number(arguments, 0)?;
    stay(arguments)?;
    let (mut client, mut server) = connected()?;
    let start = Instant::now();
    for _ in 0..requests {
        request(&mut client, &mut server)?;
    }
    said(requests, start)
}

fn bulk(arguments: &[String]) -> Result<Value> {
    let mebibytes = number(arguments, 0)?;
    stay(arguments)?;
    let (mut client, mut server) = connected()?;
    let start = Instant::now();
    let (sent, mut received) = (vec![b'b'; PIECE], vec![0; PIECE]);
    for _ in 0..mebibytes * MEBIBYTE / u64::try_from(PIECE)? {
        client.write_all(&sent)?;
        server.read_exact(&mut received)?;
    }
    said(mebibytes, start)
}

fn exec(arguments: &[String]) -> Result<Value> {
    let executions = number(arguments, 0)?;
    stay(arguments)?;
    let directory = tempfile::tempdir()?;
    let path = execute::c_string(execute::quick_program(directory.path(), "bench-quick")?)?;
    let start = Instant::now();
    for _ in 0..executions {
        let (_, status) = execute::spawn_and_wait(&path, &[&path])?;
        ensure!(status == 0, "it ended with {status}");
    }
    said(executions, start)
}

/// Never ends by itself.
fn hold(arguments: &[String]) -> Result<Value> {
    let connections = number(arguments, 0)?;
    let done = arguments.get(1).context("which file?")?;
    // As many files as there may be.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    let (listener, port) = listen()?;
    let mut open = Vec::new();
    for number in 0..connections {
        let last = u8::try_from(number % u64::from(ADDRESSES))? + 1;
        open.push(TcpStream::connect((Ipv4Addr::new(127, 0, 0, last), port))?);
        open.push(listener.accept()?.0);
    }
    fs::write(done, "")?;
    loop {
        thread::park();
    }
}
