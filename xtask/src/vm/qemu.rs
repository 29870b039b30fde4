//! One guest, from its start to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::accel::Accelerator;
use super::kernels::{Cgroups, Image};
use super::report::{Line, Reports};
use crate::cmd::Cmd;
use crate::only_one;

const QEMU: &str = "qemu-system-x86_64";
const MEMORY: &str = "1024";
const PROCESSORS: &str = "2";
const POLL: Duration = Duration::from_millis(50);

/// A guest to be run.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) image: &'a Image,
    pub(crate) accelerator: Accelerator,
    pub(crate) cgroups: Cgroups,
    pub(crate) initrd: &'a Path,
    /// Where its console and its reports go.
    pub(crate) logs: &'a Path,
    pub(crate) terminal: Terminal,
    /// How long it may take; for ever if not said.
    pub(crate) limit: Option<Duration>,
}

/// Where what the command prints goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// To this process's standard output, as it is.
    Output,
    /// This process's terminal is the command's.
    Interactive,
    /// Into the file `output` of the logs.
    File,
}

/// How a guest ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The command ended, with this status.
    Exit(u8),
    /// The guest ended and the command had not: what the console says about it.
    Crash(String),
    /// It took too long and was ended.
    TooLong,
}

impl Guest<'_> {
    /// Boots and waits for the end. Every line that its programs report is handed on as it comes.
    pub(crate) fn run(&self, mut reported: impl FnMut(Line)) -> Result<End> {
        fs::create_dir_all(self.logs)
            .with_context(|| format!("cannot create {}", self.logs.display()))?;
        // Two guests would write over each other's files.
        let guest = format!("a guest in {}", self.logs.display());
        let _mine = only_one::hold(&self.logs.join("lock"), &guest)?;
        let mut report = Reports::new(&self.logs.join("report"))?;
        let mut running = Running(self.command().start(self.stdin(), None)?);
        let start = Instant::now();
        let mut exit = None;
        let mut note = |line: Line| match line {
            Line::Exit(status) => exit = Some(status),
            other => reported(other),
        };
        let in_time = loop {
            report.read(&mut note)?;
            if running.0.try_wait()?.is_some() {
                break true;
            }
            if self.limit.is_some_and(|limit| start.elapsed() > limit) {
                break false;
            }
            thread::sleep(POLL);
        };
        drop(running);
        report.read(&mut note)?;
        Ok(match exit {
            Some(status) => End::Exit(status),
            None if in_time => End::Crash(self.last_words()),
            None => End::TooLong,
        })
    }

    fn command(&self) -> Cmd {
        let file = |name: &str| format!("file:{}", self.logs.join(name).display());
        let parameters = format!(
            "console=ttyS0 quiet panic=-1 oops=panic mitigations=off cgroups={} terminal={}",
            self.cgroups.name(),
            if self.terminal == Terminal::Interactive {
                "yes"
            } else {
                "no"
            },
        );
        let output = match self.terminal {
            Terminal::Output => "stdio,id=output,signal=on".to_owned(),
            Terminal::Interactive => "stdio,id=output,signal=off".to_owned(),
            Terminal::File => format!("file,id=output,path={}", self.logs.join("output").display()),
        };
        Cmd::new(QEMU)
            .args(self.accelerator.arguments())
            .args(["-m", MEMORY, "-smp", PROCESSORS])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .arg("-kernel")
            .arg(&self.image.file)
            .arg("-initrd")
            .arg(self.initrd)
            .args(["-append", &parameters])
            .args(["-chardev", &output])
            .args(["-serial", &file("console")])
            .args(["-serial", "chardev:output"])
            .args(["-serial", &file("report")])
    }

    fn stdin(&self) -> Stdio {
        if self.terminal == Terminal::Interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        }
    }

    /// What tells most about a crash.
    fn last_words(&self) -> String {
        let console = self.console();
        let text = fs::read(&console).unwrap_or_default();
        let said = last_words_in(&String::from_utf8_lossy(&text));
        format!("{said} (all of it: {})", console.display())
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.logs.join("console")
    }
}

/// The kernel's complaint, or else the last line.
fn last_words_in(console: &str) -> String {
    let complaint = ["Kernel panic", "Oops", "BUG:"];
    let mut lines = console
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let found = complaint
        .iter()
        .find_map(|sign| lines.clone().find(|line| line.contains(sign)))
        .or_else(|| lines.next_back());
    found.unwrap_or("its kernel said nothing").to_owned()
}

/// A guest that does not outlive whoever waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_told_by_what_the_kernel_complained_of() {
        let check = |console, expected| assert_eq!(last_words_in(console), expected);
        check(
            "[1.0] starting\r\n[2.0] Kernel panic - not syncing: oops\r\n[2.1] Rebooting\r\n",
            "[2.0] Kernel panic - not syncing: oops",
        );
        check("[1.0] starting\r\n\r\n", "[1.0] starting");
        check("", "its kernel said nothing");
    }
}
