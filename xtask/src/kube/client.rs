//! The rig's own use of its API server, by kubectl.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::config::write_text;
use super::rig::Rig;
use crate::cmd::Cmd;

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(200);

const POD_MONITORS: &str = include_str!("podmonitors.yaml");

/// A command for the administrator.
pub(super) fn kubectl(rig: &Rig) -> Cmd {
    Cmd::new(rig.kubectl())
        .env("KUBECONFIG", rig.kubeconfig())
        .arg(format!("--cache-dir={}", rig.text("client-cache")))
        // Errors come at once instead of after a minute.
        .arg("--request-timeout=10s")
}

/// Whether the API server says that it is ready.
pub(super) fn is_ready(rig: &Rig) -> bool {
    kubectl(rig).args(["get", "--raw", "/readyz"]).succeeds()
}

/// Makes the kinds that charts expect of a cluster.
pub(super) fn add_kinds(rig: &Rig) -> Result<()> {
    write_text(rig, "podmonitors.yaml", POD_MONITORS)?;
    kubectl(rig)
        .args(["apply", "--filename"])
        .arg(rig.path("podmonitors.yaml"))
        .run_quietly()
}

/// Waits for what happens soon. `alive` tells if it cannot happen any more.
pub(super) fn wait(
    what: &str,
    alive: impl Fn() -> Result<()>,
    done: impl Fn() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        alive()?;
        if Instant::now() > deadline {
            bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
