//! Where shapes are made: in a process of their own, which keeps what `wait4(2)` tells.

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use wellhead_tests::execute;

use super::calls::{self, FAILED};

/// One shape: its name, how it is made, and what must be told of it (see [`super::told`]).
pub(crate) struct Shape(
    pub(crate) &'static str,
    pub(crate) fn(&mut Stage) -> Result<()>,
    pub(crate) &'static str,
);

/// Why a shape cannot be made here.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// That it cannot be made, as an error.
pub(crate) fn skip(reason: impl fmt::Display) -> anyhow::Error {
    Skip(reason.to_string()).into()
}

/// The process that makes a shape.
pub(crate) struct Stage {
    /// Its working directory, and nobody else's.
    pub(crate) directory: PathBuf,
    /// The cgroup that is watched.
    pub(crate) cgroup: PathBuf,
    facts: Vec<Value>,
    notes: Map<String, Value>,
}

impl Stage {
    pub(crate) fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// Forks; the child does `life` and exits with what that returns.
    #[expect(clippy::unused_self, reason = "makers do everything by their stage")]
    pub(crate) fn start(&self, life: impl FnOnce() -> i32) -> Result<i32> {
        let child = execute::fork(|| {
            calls::as_new();
            life()
        });
        Ok(child?)
    }

    /// Forks; returns once the child has prepared itself. It then waits for what comes.
    pub(crate) fn ready(&self, prepare: impl FnOnce()) -> Result<i32> {
        self.ready_then(prepare, calls::pause)
    }

    /// Likewise; it then does something else.
    pub(crate) fn ready_then(
        &self,
        prepare: impl FnOnce(),
        then: impl FnOnce() -> i32,
    ) -> Result<i32> {
        let (mut told, mut tell) = io::pipe()?;
        let child = self.start(|| {
            prepare();
            if tell.write_all(b"r").is_err() {
                return FAILED;
            }
            then()
        })?;
        drop(tell);
        told.read_exact(&mut [0])
            .context("the child did not get ready")?;
        Ok(child)
    }

    /// Waits for a child and keeps what is told of it.
    pub(crate) fn reap(&mut self, pid: i32) -> Result<i32> {
        let mut status = 0;
        // SAFETY: all zero is a valid value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both outlive the call.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        ensure!(waited == pid, "wait4: {}", io::Error::last_os_error());
        let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        self.facts.push(json!({
            "pid": pid,
            "status": status,
            "cpu_us": micros(usage.ru_utime) + micros(usage.ru_stime),
            "peak_kib": usage.ru_maxrss,
            "minor": usage.ru_minflt,
            "major": usage.ru_majflt,
            "voluntary": usage.ru_nvcsw,
            "forced": usage.ru_nivcsw,
        }));
        Ok(status)
    }

    /// Forks, and waits for the end.
    pub(crate) fn run(&mut self, life: impl FnOnce() -> i32) -> Result<i32> {
        let child = self.start(life)?;
        self.reap(child)
    }

    /// A child that executes something.
    pub(crate) fn run_exec(&mut self, path: impl AsRef<Path>, arguments: &[&[u8]]) -> Result<i32> {
        self.run(|| calls::exec(path, arguments))
    }

    /// Something that is known only now: `$NAME` in what must be told.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<Value>) {
        self.notes.insert(name.to_owned(), value.into());
    }
}

/// Makes one shape in this process, and writes what is known of it.
pub(crate) fn make(shape: &Shape, directory: &Path, cgroup: &Path) -> Result<()> {
    fs::create_dir(directory)?;
    std::env::set_current_dir(directory)?;
    let mut stage = Stage {
        directory: directory.to_owned(),
        cgroup: cgroup.to_owned(),
        facts: Vec::new(),
        notes: Map::new(),
    };
    let made = (shape.1)(&mut stage);
    let problem = |error: &anyhow::Error| error.downcast_ref::<Skip>().is_none();
    let result = json!({
        "name": shape.0,
        "runner": std::process::id(),
        "directory": directory,
        "facts": stage.facts,
        "notes": stage.notes,
        "skipped": made.as_ref().err().filter(|error| !problem(error)).map(ToString::to_string),
        "failed": made.as_ref().err().filter(|error| problem(error)).map(|error| format!("{error:#}")),
    });
    Ok(fs::write(result_file(directory), result.to_string())?)
}

/// Where [`make`] writes to.
pub(crate) fn result_file(directory: &Path) -> PathBuf {
    directory.with_extension("json")
}

/// The program that does nothing, where it really is.
pub(crate) fn true_program() -> Result<PathBuf> {
    Ok(fs::canonicalize("/bin/true")?)
}

/// This program.
pub(crate) fn own_program() -> Result<PathBuf> {
    Ok(fs::canonicalize("/proc/self/exe")?)
}

/// Arguments by which this program does something else than test: see [`super::act`].
pub(crate) fn acting<'a>(arguments: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut all: Vec<&[u8]> = vec![b"zoo", b"--workload", b"act"];
    all.extend(arguments);
    all
}

/// Copies a program, with this mode.
pub(crate) fn copy_of(program: &Path, to: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::copy(program, to).with_context(|| format!("copy to {}", to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}
