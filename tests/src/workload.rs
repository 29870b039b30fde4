//! Processes that do what a test watches: the test program itself, started again inside a cgroup.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::symlink, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cgroup::CgroupGuard;

/// First argument of a test program that is to be a workload.
const FLAG: &str = "--workload";

/// A function that is a workload's whole life. What it returns is printed as one line of JSON.
pub type Workload = fn(&[String]) -> Result<Value>;

/// Runs the workload the command line asks for, if it asks for one. To be called first in `main`.
///
/// # Errors
/// It asks for one that is not there, or that failed.
pub fn run_if_asked(workloads: &[(&str, Workload)]) -> Result<bool> {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() != Some(FLAG) {
        return Ok(false);
    }
    let name = arguments.next().context("which workload?")?;
    let arguments: Vec<String> = arguments.collect();
    let (_, workload) = workloads
        .iter()
        .find(|(known, _)| *known == name)
        .with_context(|| format!("no workload {name}"))?;
    let result = workload(&arguments)?;
    writeln!(io::stdout(), "{result}")?;
    Ok(true)
}

/// A running workload; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

/// Starts a workload that is in `cgroup` before it executes: its exec is the first thing that happens there.
///
/// # Errors
/// It cannot be started.
pub fn start(cgroup: &CgroupGuard, name: &str, arguments: &[&str]) -> Result<Running> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(FLAG).arg(name).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    enter(&mut command, &[cgroup])?;
    let child = command.spawn().with_context(|| format!("start {name}"))?;
    let name = name.to_owned();
    Ok(Running { child, name })
}

/// Runs a workload to its end and returns what it printed.
///
/// # Errors
/// It cannot be started, fails, or prints something else.
pub fn run(cgroup: &CgroupGuard, name: &str, arguments: &[&str]) -> Result<Value> {
    start(cgroup, name, arguments)?.finish()
}

/// The command that runs a workload in a cgroup under a name of its own, as which the test program is linked into `directory`.
///
/// # Errors
/// It cannot be linked, or the cgroup is gone.
pub fn named(
    directory: &Path,
    name: &str,
    cgroup: &CgroupGuard,
    workload: &[&str],
) -> Result<Command> {
    let program = directory.join(name);
    if !program.exists() {
        symlink(env::current_exe()?, &program)?;
    }
    let mut command = Command::new(program);
    command.arg(FLAG).args(workload).stdout(Stdio::null());
    enter(&mut command, &[cgroup])?;
    Ok(command)
}

/// Makes the child of `command` enter cgroups (of different hierarchies) before it executes.
///
/// # Errors
/// A cgroup is gone.
pub fn enter(command: &mut Command, cgroups: &[&CgroupGuard]) -> Result<()> {
    for cgroup in cgroups {
        let procs = fs::OpenOptions::new().write(true).open(cgroup.procs())?;
        let enter = move || {
            // SAFETY: one system call on a descriptor the closure owns; the byte outlives it.
            let written = unsafe { libc::write(procs.as_raw_fd(), b"0".as_ptr().cast(), 1) };
            if written == 1 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        // SAFETY: the closure neither allocates nor locks.
        unsafe { command.pre_exec(enter) };
    }
    Ok(())
}

/// The name the workloads' own execs are reported under.
///
/// # Errors
/// The test program's path is not known.
pub fn own_name() -> Result<OsString> {
    let path = env::current_exe()?;
    Ok(path.file_name().context("a program has a name")?.to_owned())
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and returns what it printed.
    ///
    /// # Errors
    /// It failed or printed something else.
    pub fn finish(mut self) -> Result<Value> {
        let mut output = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            stdout.read_to_string(&mut output)?;
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "workload {} ended: {status}", self.name);
        let line = output.trim();
        serde_json::from_str(line).with_context(|| format!("workload {} said {line:?}", self.name))
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It has ended.
    pub fn ensure_alive(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "workload {} ended: {ended:?}", self.name);
        Ok(())
    }

    /// Waits for its end, however it ends.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
