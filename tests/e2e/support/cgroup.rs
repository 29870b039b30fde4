//! A cgroup named as a container's.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{fs, process};

use super::wait::until;
use super::work::unique;

/// Where cgroup v2 is mounted.
pub(crate) fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| point.into())
    })
}

/// A cgroup named as Docker names those of its containers; removed when dropped.
#[derive(Debug)]
pub(crate) struct Container {
    path: PathBuf,
    /// The container's id.
    pub(crate) id: String,
}

impl Container {
    pub(crate) fn new() -> Self {
        let number = unique();
        let id = format!("{:032x}{:016x}{number:016x}", 0xe2e, process::id());
        let path = mount()
            .expect("asked for by a need")
            .join(format!("docker-{id}.scope"));
        fs::create_dir(&path).expect("a cgroup");
        Self { path, id }
    }

    /// A command that enters the cgroup and becomes `program`.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        let enter = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
        command.args(["-c", enter]).arg(&self.path).arg(program);
        command
    }

    /// Runs a program in it.
    pub(crate) fn run(&self, program: &Path) -> ExitStatus {
        self.command(program).status().expect("runs")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(fs::write(self.path.join("cgroup.kill"), "1"));
        let path = &self.path;
        until("the cgroup to be empty", || fs::remove_dir(path).ok());
    }
}
