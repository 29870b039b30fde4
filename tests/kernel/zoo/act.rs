//! What this program does when a shape executes it.

use std::{hint, io::Write as _, time::Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use wellhead_tests::execute;

use super::{
    calls::{self, exit_now},
    stage::{acting, own_program},
};

/// A descriptor by which somebody is told that it is running.
pub(super) const TELL: i32 = 100;

/// The workload.
pub(crate) fn act(arguments: &[String]) -> Result<Value> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["exit", code] => exit_now(code.parse()?),
        ["chain", "1"] => exit_now(calls::exec("/bin/true", &[b"true"])),
        ["chain", _] => exit_now(calls::exec(own_program()?, &acting(&[b"chain", b"1"]))),
        ["parent"] => {
            let child = execute::fork(|| calls::exec("/bin/true", &[b"true", b"of", b"parent"]))?;
            exit_now(execute::wait(child)?.1 >> 8)
        }
        ["line", "0"] => exit_now(0),
        ["line", more] => {
            let next = (more.parse::<u32>()? - 1).to_string();
            let program = own_program()?;
            let child =
                execute::fork(|| calls::exec(&program, &acting(&[b"line", next.as_bytes()])))?;
            exit_now(execute::wait(child)?.1 >> 8)
        }
        ["fault"] => {
            calls::as_new();
            exit_now(super::endings::fault())
        }
        ["pause"] => {
            // SAFETY: the descriptor was opened for this.
            let sent = unsafe { libc::write(TELL, b"r".as_ptr().cast(), 1) };
            anyhow::ensure!(sent == 1, "nobody listens");
            exit_now(calls::pause())
        }
        ["burn", milliseconds] => {
            burn(milliseconds.parse()?);
            exit_now(0)
        }
        ["users"] => {
            // SAFETY: nothing to get wrong.
            let (real, effective) = unsafe { (libc::getuid(), libc::geteuid()) };
            exit_now(i32::from((real, effective) != (1_000, 0)))
        }
        ["old"] => old(),
        _ => bail!("do what? {arguments:?}"),
    }
}

/// Uses the processor for so long.
pub(super) fn burn(milliseconds: u64) {
    let used = || {
        // SAFETY: all zero is a valid value, which outlives the call.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        time.tv_sec.unsigned_abs() * 1_000 + time.tv_nsec.unsigned_abs() / 1_000_000
    };
    let start = Instant::now();
    while used() < milliseconds && start.elapsed().as_secs() < 30 {
        hint::spin_loop();
    }
}

/// A process that is there before anybody watches: once it is told to, it has a child.
fn old() -> Result<Value> {
    let mut line = String::new();
    writeln!(std::io::stdout(), "ready")?;
    std::io::stdin().read_line(&mut line).context("a line")?;
    let child = execute::fork(|| calls::exec("/bin/true", &[b"true", b"young"]))?;
    let (pid, status) = execute::wait(child)?;
    Ok(serde_json::json!({ "child": pid, "status": status }))
}
