//! The output of a program that runs, line by line.

use std::io::{self, BufRead as _, BufReader};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;

use anyhow::{Context as _, Result};

use super::{Cmd, GRACE, say};

/// How many lines a program may be ahead of whoever reads them.
const LINES_AHEAD: usize = 64;

impl Cmd {
    /// As [`Self::run`], but hands on each line of its standard output as it comes, and leaves it to the caller what its
    /// status means.
    pub(crate) fn run_by_line(mut self, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
        say(format!("$ {self}"));
        let started = self.command.stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot start `{self}`"))?;
        let (sender, lines) = mpsc::sync_channel(LINES_AHEAD);
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || send_lines(output, &sender));
        }
        loop {
            match lines.recv_timeout(GRACE) {
                Ok(line) => each(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                // What the program started may have outlived it, and has its output still open.
                Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_some() => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ok(child.wait()?)
    }
}

/// Sends lines without their ends until there are no more, or nobody wants them.
fn send_lines(output: impl io::Read, lines: &SyncSender<String>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if lines.send(line).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hands_on_every_line_and_the_status() {
        let mut lines = Vec::new();
        let script = "echo one; echo; printf 'two\\377'; exit 3";
        let status = Cmd::new("sh")
            .args(["-c", script])
            .run_by_line(|line| lines.push(line.to_owned()))
            .unwrap();
        assert_eq!(lines, ["one", "", "two\u{fffd}"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn what_outlives_a_program_is_not_waited_for() {
        let begun = Instant::now();
        let status = Cmd::new("sh")
            .args(["-c", "sleep 60 & echo one"])
            .run_by_line(|line| assert_eq!(line, "one"))
            .unwrap();
        assert!(status.success() && begun.elapsed() < Duration::from_secs(50));
    }
}
