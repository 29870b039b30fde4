//! Who watches while applications work: nobody, the agent, or a neighbour.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::support::Agent;

/// Directories in which neighbours are looked for, beside those of `PATH`.
const PROGRAMS: &str = "WELLHEAD_BENCH_PROGRAMS";

/// A program that watches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Observer {
    /// The agent, with the features whose programs run for each packet or without them.
    Wellhead {
        per_packet: bool,
    },
    Neighbour(&'static Neighbour),
}

/// One that others made.
#[derive(Debug)]
pub(crate) struct Neighbour {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

/// Each sees a part of what the agent does.
const NEIGHBOURS: [Neighbour; 4] = [
    Neighbour {
        name: "tcplife (libbpf-tools)",
        program: "tcplife",
        arguments: &[],
    },
    Neighbour {
        name: "execsnoop (libbpf-tools)",
        program: "execsnoop",
        arguments: &[],
    },
    Neighbour {
        name: "bpftrace, closes and executions",
        program: "bpftrace",
        arguments: &[
            "-e",
            "tracepoint:sock:inet_sock_set_state /args->newstate == 7/ { printf(\"%d %d\\n\", args->sport, args->dport); } \
             tracepoint:sched:sched_process_exec { printf(\"%d %s\\n\", pid, str(args->filename)); }",
        ],
    },
    Neighbour {
        name: "node-exporter, which nobody asks",
        program: "prometheus-node-exporter",
        arguments: &["--web.listen-address=127.0.0.1:0"],
    },
];

/// One that watches now; it stops when dropped.
pub(crate) enum Observing {
    Agent(Box<Agent>),
    Program(Child),
}

impl Observer {
    /// Those that there are on this machine.
    pub(crate) fn all() -> Vec<Self> {
        let (here, missing): (Vec<_>, Vec<_>) = NEIGHBOURS
            .iter()
            .partition(|neighbour| find(neighbour.program).is_some());
        for neighbour in missing {
            println!("{} is not here: it is left out", neighbour.program);
        }
        let here = here.into_iter().map(Self::Neighbour);
        let agent = [true, false].map(|per_packet| Self::Wellhead { per_packet });
        agent.into_iter().chain(here).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wellhead { per_packet: true } => "Wellhead",
            Self::Wellhead { per_packet: false } => "Wellhead without `udp` and `dns`",
            Self::Neighbour(neighbour) => neighbour.name,
        }
    }

    /// Starts it, and waits until it has nothing left to prepare.
    pub(crate) fn start(self) -> Result<Observing> {
        let observing = match self {
            Self::Wellhead { per_packet } => {
                let switch = if per_packet { "on" } else { "off" };
                let agent = Agent::builder()
                    .set("features.udp", switch)
                    .set("features.dns", switch);
                Observing::Agent(Box::new(agent.start()))
            }
            Self::Neighbour(Neighbour {
                program, arguments, ..
            }) => {
                let path = find(program).context("it was there")?;
                let mut command = Command::new(path);
                command.args(*arguments).stdin(Stdio::null());
                command.stdout(Stdio::null()).stderr(Stdio::null());
                Observing::Program(command.spawn()?)
            }
        };
        observing.wait_until_idle()?;
        Ok(observing)
    }
}

impl Observing {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Agent(agent) => agent.pid(),
            Self::Program(child) => child.id(),
        }
    }

    /// The time that its threads had a processor.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()))?;
        let mut nanoseconds = 0;
        for task in tasks {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split(' ').next().context("a number")?;
            nanoseconds += first.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn wait_until_idle(&self) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(300);
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut before = None;
        while Instant::now() < deadline {
            thread::sleep(PAUSE);
            let now = self.processor_time()?;
            let busy = before.map(|before| now.saturating_sub(before));
            if busy.is_some_and(|busy| busy < PAUSE / 50) {
                break;
            }
            before = Some(now);
        }
        Ok(())
    }
}

impl Drop for Observing {
    fn drop(&mut self) {
        if let Self::Program(child) = self {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A number of `/proc/<pid>/status` that is given in kB, in MiB.
pub(crate) fn mebibytes(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kibibytes: f64 = number.context("a number")?.parse()?;
    Ok(kibibytes / 1024.0)
}

fn find(program: &str) -> Option<PathBuf> {
    let own = env::var_os(PROGRAMS).unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&own).chain(env::split_paths(&path));
    let sbin = PathBuf::from("/usr/sbin");
    places
        .chain([sbin])
        .map(|place| place.join(program))
        .find(|file| file.is_file())
}
