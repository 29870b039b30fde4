//! `cargo xtask ci`: everything a change has to pass, in the order of what is quickest to fail.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cmd::{Cmd, say};
use crate::ebpf::{self, Warnings};
use crate::vm::{self, Bless, Kernels};
use crate::{chart, docs, kube, paths, receivers, setup, test, tidy};

const CARGO_DENY_VERSION: &str = "0.20.2";

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// What every machine runs.
const STEPS: [Step; 11] = [
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
        name: "test vm",
        run: || vm::test(Kernels::Guests, &[], Bless::No),
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

/// Stops at the first step that fails. `full` leaves nothing out because it takes long to build.
pub(crate) fn run(full: bool) -> Result<()> {
    let with_kube = full || kube::is_here();
    let mut times = Vec::new();
    let receivers = if full { ALL_RECEIVERS } else { RECEIVERS };
    let steps = STEPS.into_iter().chain([receivers]);
    for Step { name, run } in steps.chain(with_kube.then_some(KUBE)) {
        say(format!("==> {name}"));
        let start = Instant::now();
        run().with_context(|| format!("ci failed at `{name}`"))?;
        times.push((name, start.elapsed()));
    }
    if !with_kube {
        say(
            "==> SKIPPED: test kube, because no Kubernetes has been built here: `setup --kube` does, or `ci --full`",
        );
    }
    receivers::tell_of_collector();
    say("==> all passed");
    for (name, time) in &times {
        say(line(name, *time));
    }
    say(line("total", times.iter().map(|(_, time)| *time).sum()));
    Ok(())
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
    fn times_line_up() {
        let short = line("fmt", Duration::from_millis(1_250));
        let long = line("docs --check", Duration::from_secs(1_234));
        assert_eq!(short, "fmt               1.2 s");
        assert_eq!(short.len(), long.len());
    }
}
