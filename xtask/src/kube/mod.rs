//! `cargo xtask kube`: a real Kubernetes on this machine, for tests and for use by hand: the control plane alone, or a
//! cluster of one node with real pods. One at a time, made anew each time, and taken down without a trace.

mod build;
mod client;
mod config;
mod control_plane;
mod image;
mod machine;
mod node;
mod openapi;
mod pki;
mod processes;
mod programs;
mod rig;
mod test;
mod watch;

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use self::node::Namespaces;
pub(crate) use self::programs::are_here as is_here;
use self::programs::{ControlPlane, Node};
use self::rig::{Extent, NODE, Rig};
pub(crate) use self::test::run as test;
use crate::cmd::{Cmd, is_root, say};
use crate::test::mount_what_the_kernel_shows;
use crate::{only_one, setup};

/// What to do with the rig.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Start it, or say how to use the one that runs
    Up {
        /// etcd and the API server alone, on loopback; those of KUBEBUILDER_ASSETS if it is set
        #[arg(long)]
        control_plane: bool,
    },
    /// Take away everything of it, also of one that did not come up
    Down,
    /// Import an image from an archive, as `cargo xtask dist` writes them
    Load { archive: PathBuf },
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<ExitCode> {
    match action {
        Action::Up {
            control_plane: true,
        } => up(Extent::ControlPlane).map(drop)?,
        Action::Up {
            control_plane: false,
        } => {
            // Built by whoever asks, run by root.
            prepare()?;
            become_root(&["up".into()])?;
            up(Extent::Cluster)?;
        }
        Action::Down => {
            if Rig::new()?.extent() == Some(Extent::Cluster) {
                become_root(&["down".into()])?;
            }
            down()?;
        }
        Action::Load { archive } => {
            become_root(&["load".into(), archive.into()])?;
            load(archive)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Gets all programs, and starts none.
pub(crate) fn prepare() -> Result<()> {
    setup::kube()?;
    let _one = one_at_a_time()?;
    Node::ensure().map(drop)
}

/// Starts a rig, unless there is one of this kind already.
pub(crate) fn up(extent: Extent) -> Result<Rig> {
    setup::kube()?;
    let _one = one_at_a_time()?;
    let rig = Rig::new()?;
    if rig.extent() == Some(extent)
        && watch::all_alive(&rig, watch::parts(extent)).is_ok()
        && client::is_ready(&rig)
    {
        tell(&rig, extent, "runs already")?;
        return Ok(rig);
    }
    // All programs first: what comes after is quick, and undone if it fails.
    let servers = match extent {
        Extent::ControlPlane => ControlPlane::ensure()?,
        Extent::Cluster => ControlPlane::of_rig()?,
    };
    clear()?;
    let start = Instant::now();
    let started = match extent {
        Extent::ControlPlane => start_control_plane(&rig, &servers),
        Extent::Cluster => start_cluster(&rig, &servers),
    };
    if let Err(error) = started {
        clear()?;
        return Err(error.context(format!(
            "the rig did not come up; its logs are in {}",
            rig.logs().display()
        )));
    }
    let time = format!("is ready after {:.1} s", start.elapsed().as_secs_f64());
    tell(&rig, extent, &time)?;
    Ok(rig)
}

/// Takes down whatever there is of a rig.
pub(crate) fn down() -> Result<()> {
    let _one = one_at_a_time()?;
    clear()
}

fn clear() -> Result<()> {
    let rig = Rig::new()?;
    match rig.extent() {
        None => Ok(()),
        Some(extent) => machine::clear(&rig, extent),
    }
}

/// Waits until nobody else builds, starts or ends a rig, and keeps others from it until it is dropped.
fn one_at_a_time() -> Result<File> {
    only_one::hold(&programs::directory()?.join("lock"), "a rig")
}

/// Imports an image into a cluster that runs.
pub(crate) fn load(archive: &Path) -> Result<()> {
    let node = Namespaces::find(&Rig::new()?)?;
    // The node's mount namespace has a working directory of its own.
    let archive = std::path::absolute(archive).context("where is the archive?")?;
    node::load(node, &Node::ensure()?, &archive)
}

fn start_control_plane(rig: &Rig, servers: &ControlPlane) -> Result<()> {
    rig.begin(Extent::ControlPlane)?;
    control_plane::configure(rig, Extent::ControlPlane, servers)?;
    control_plane::start(rig, Extent::ControlPlane, servers, |program| {
        processes::detached(program)
    })?;
    control_plane::wait(rig)
}

fn start_cluster(rig: &Rig, servers: &ControlPlane) -> Result<()> {
    let programs = Node::ensure()?;
    if let Some(cgroup) = machine::pod_cgroups().first() {
        bail!(
            "{} is there: this machine is a node of another cluster",
            cgroup.display()
        );
    }
    mount_what_the_kernel_shows()?;
    rig.begin(Extent::Cluster)?;
    control_plane::configure(rig, Extent::Cluster, servers)?;
    node::configure(rig, &programs)?;
    let node = Namespaces::make(rig)?;
    node::start_containers(rig, node, &programs)?;
    control_plane::start(rig, Extent::Cluster, servers, |program| {
        node.beside(program)
    })?;
    control_plane::wait(rig)?;
    node::start(rig, node, &programs)?;
    node::wait(rig, node, &programs)
}

fn tell(rig: &Rig, extent: Extent, state: &str) -> Result<()> {
    let what = match extent {
        Extent::ControlPlane => "the control plane",
        Extent::Cluster => "the cluster",
    };
    say(format!("{what} {state}"));
    say(format!(
        "  export KUBECONFIG={}",
        rig.kubeconfig().display()
    ));
    say(format!("  client:     {}", rig.kubectl().display()));
    say(format!("  logs:       {}", rig.logs().display()));
    say(format!("  audit log:  {}", rig.audit_log().display()));
    if extent == Extent::Cluster {
        say(format!("  image:      {}", image::BUSYBOX));
        let node = Namespaces::find(rig)?;
        say(format!("  on {NODE}:  {} COMMAND", node.by_hand()));
    }
    say("  the end:    cargo xtask kube down");
    Ok(())
}

/// Starts this program anew through sudo, unless it is root's already. Tools stay those of the user.
fn become_root(action: &[OsString]) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let tools = programs::directory()?;
    let tools = tools.parent().context("tools lie in a directory")?;
    let this = env::current_exe().context("this program does not know where it is")?;
    Err(Cmd::root("env")?
        .arg(format!("WELLHEAD_TOOLS={}", tools.display()))
        .arg(this)
        .arg("kube")
        .args(action)
        .exec())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        action: Action,
    }

    #[test]
    fn the_control_plane_alone_has_to_be_asked_for() {
        let parse = |words: &[&str]| {
            let words = ["kube"].iter().chain(words);
            Line::try_parse_from(words).map(|line| line.action)
        };
        let alone = |words: &[&str]| match parse(words) {
            Ok(Action::Up { control_plane }) => Some(control_plane),
            _ => None,
        };
        assert_eq!(alone(&["up"]), Some(false));
        assert_eq!(alone(&["up", "--control-plane"]), Some(true));
        assert!(matches!(parse(&["load", "a.tar"]), Ok(Action::Load { .. })));
        assert!(parse(&["load"]).is_err());
    }
}
