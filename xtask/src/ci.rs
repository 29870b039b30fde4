//! `cargo xtask ci`: everything a change has to pass, in the order of what is quickest to fail.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cmd::{Cmd, say};
use crate::ebpf::{self, Warnings};
use crate::vm::{self, Bless, Kernels};
use crate::{chart, cost, docs, kube, paths, receivers, setup, test, tidy};

const CARGO_DENY_VERSION: &str = "0.20.2";

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// What every machine runs.
const STEPS: [Step; 12] = [
    Step {
        name: "setup",
        run: || setup::build().map(drop),
    },
    Step {
        name: "fmt",
        run: fmt,
    },
    Step {
        name: "tidy",
        run: tidy::run,
    },
    Step {
        name: "build-ebpf",
        run: || ebpf::build(Warnings::Denied),
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "deny",
        run: deny,
    },
    Step {
        name: "docs --check",
        run: || docs::run(true),
    },
    Step {
        name: "test unit",
        run: test::unit,
    },
    Step {
        name: "test chart",
        run: chart::test,
    },
    Step {
        name: "test kernel",
        run: test::kernel,
    },
    Step {
        name: "test cost",
        run: || cost::test(Bless::No),
    },
    Step {
        name: "test vm",
        run: || vm::test(Kernels::GuestsInBrief, &[], Bless::No),
    },
];

/// Without an OpenTelemetry Collector where none has been built.
const RECEIVERS: Step = Step {
    name: "test receivers",
    run: || receivers::test(&[]),
};

const ALL_RECEIVERS: Step = Step {
    name: "test receivers",
    run: || receivers::collector().and_then(|_| receivers::test(&[])),
};

/// What only machines run that have a Kubernetes already, or are told to make one.
const KUBE: Step = Step {
    name: "test kube",
    run: || kube::test(&[]),
};

/// After so long the cluster, which takes up to half an hour, is left out: a run may take ninety minutes.
const TOO_LATE_FOR_KUBE: Duration = Duration::from_mins(50);

/// Stops at the first step that fails. `full` leaves nothing out because it takes long.
pub(crate) fn run(full: bool) -> Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    let receivers = if full { ALL_RECEIVERS } else { RECEIVERS };
    for step in STEPS.into_iter().chain([receivers]) {
        times.push(step.run()?);
    }
    match why_not_kube(kube::is_here(), start.elapsed()).filter(|_| !full) {
        None => times.push(KUBE.run()?),
        Some(why) => say(format!(
            "==> SKIPPED: test kube, because {why}; `ci --full` has it"
        )),
    }
    receivers::tell_of_collector();
    say("==> all passed");
    for (name, time) in &times {
        say(line(name, *time));
    }
    say(line("total", start.elapsed()));
    Ok(())
}

impl Step {
    fn run(self) -> Result<(&'static str, Duration)> {
        let Self { name, run } = self;
        say(format!("==> {name}"));
        let start = Instant::now();
        run().with_context(|| format!("ci failed at `{name}`"))?;
        Ok((name, start.elapsed()))
    }
}

fn why_not_kube(is_here: bool, taken: Duration) -> Option<&'static str> {
    if !is_here {
        Some("no Kubernetes has been built here (`setup --kube` does)")
    } else if taken >= TOO_LATE_FOR_KUBE {
        Some("this machine was too slow to have time left for it")
    } else {
        None
    }
}

fn line(name: &str, time: Duration) -> String {
    format!("{name:<14}{:>7.1} s", time.as_secs_f64())
}

fn fmt() -> Result<()> {
    Cmd::cargo()
        .dir(&paths::root()?)
        .args(["fmt", "--all", "--check"])
        .run()
}

/// The kernel programs are left out: their lints are the compiler's, denied by `build-ebpf`.
fn clippy() -> Result<()> {
    Cmd::cargo()
        .dir(&paths::root()?)
        .args(["clippy", "--locked", "--workspace"])
        .args(["--exclude", "wellhead-ebpf", "--all-targets"])
        .args(["--", "-D", "warnings"])
        .run()
}

/// Without advisories: their database is fetched from the network, and a new one there must not
/// fail a change that has nothing to do with it.
fn deny() -> Result<()> {
    let dir = paths::tool(&format!("cargo-deny-{CARGO_DENY_VERSION}"))?;
    let deny = dir.join("bin/cargo-deny");
    if !deny.is_file() {
        say("building cargo-deny, once: this takes some minutes");
        Cmd::cargo()
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&dir)
            .arg(format!("cargo-deny@{CARGO_DENY_VERSION}"))
            .env_remove("CARGO_TARGET_DIR")
            .run()?;
    }
    Cmd::new(deny)
        .dir(&paths::root()?)
        .args(["--locked", "--workspace", "check", "--hide-inclusion-graph"])
        .args(["bans", "licenses", "sources"])
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_needs_to_be_there_and_time() {
        let why_not = |is_here, minutes| why_not_kube(is_here, Duration::from_mins(minutes));
        assert_eq!(why_not(true, 49), None);
        assert!(why_not(true, 50).is_some_and(|why| why.contains("too slow")));
        assert!(why_not(false, 1).is_some_and(|why| why.contains("setup --kube")));
    }

    #[test]
    fn times_line_up() {
        let short = line("fmt", Duration::from_millis(1_250));
        let long = line("docs --check", Duration::from_secs(1_234));
        assert_eq!(short, "fmt               1.2 s");
        assert_eq!(short.len(), long.len());
    }
}
