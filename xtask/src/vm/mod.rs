//! `cargo xtask vm`: a command on another kernel, in a virtual machine that lives in memory; `cargo xtask test vm`: the
//! kernel tests on all of them.

mod accel;
mod apt;
mod cpio;
mod golden;
mod image;
mod kernels;
mod matrix;
mod pages;
mod qemu;
mod report;
mod table;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::accel::Accelerator;
pub(crate) use self::golden::{Bless, document};
use self::image::Program;
pub(crate) use self::kernels::Cgroups;
pub(crate) use self::matrix::{Kernels, run as test};
use self::qemu::{End, Guest, Terminal};
use crate::cmd::{Cmd, say};
use crate::ebpf::{self, Warnings};
use crate::{agent, paths, setup};

/// Runs a command in a guest, or a shell if none is given. Its exit status becomes this program's.
pub(crate) fn run(
    kernel: &str,
    cgroups: Option<Cgroups>,
    command: &[OsString],
) -> Result<ExitCode> {
    setup::vm()?;
    let interactive = command.is_empty();
    if interactive && !io::stdin().is_terminal() {
        bail!("a shell needs a terminal; give a command after --");
    }
    let (kernel, image) = kernels::find(kernel)?;
    let work = work_directory()?.join(kernel.name);
    let accelerator = Accelerator::find(&image, &work)?;
    let script = if interactive {
        "exec sh\n".to_owned()
    } else {
        image::script(command)?
    };
    let initrd = work.join("initrd.cpio");
    image::write(&initrd, &image, &programs(command)?, &script)?;
    let guest = Guest {
        image: &image,
        accelerator,
        cgroups: cgroups.unwrap_or(kernel.cgroups),
        initrd: &initrd,
        logs: &work,
        terminal: if interactive {
            Terminal::Interactive
        } else {
            Terminal::Output
        },
        limit: None,
    };
    say(format!(
        "booting {} by {}",
        image.release,
        accelerator.name()
    ));
    match guest.run(drop)? {
        End::Exit(status) => Ok(ExitCode::from(status)),
        End::Crash(words) => bail!("the guest crashed: {words}"),
        End::TooLong => bail!("the guest took too long"),
    }
}

/// Where guests have their files.
fn work_directory() -> Result<PathBuf> {
    Ok(paths::target_dir()?.join("vm"))
}

/// What a command uses of what is built here; a shell may use all of it.
fn programs(command: &[OsString]) -> Result<Vec<Program>> {
    let named = |name: &str| {
        command.is_empty()
            || command
                .iter()
                .any(|word| word.to_string_lossy().contains(name))
    };
    let mut programs = Vec::new();
    if named("kernel-tests") {
        programs.push(kernel_tests()?);
        programs.extend(companions()?);
    }
    if named("wellhead") {
        programs.push(Program {
            name: "wellhead",
            file: agent::build_for_tests()?,
        });
    }
    Ok(programs)
}

/// What the kernel tests want that busybox does not give, or not all of: a `true` that is one under any name, `chrt`, and what
/// makes networks and rules of them.
fn companions() -> Result<Vec<Program>> {
    let names = ["true", "chrt", "ip", "ss", "tc", "nft"];
    names.into_iter().map(Program::of_this_machine).collect()
}

/// The program of the kernel tests, built as `cargo test --release` builds it: emulated processors are slow enough.
fn kernel_tests() -> Result<Program> {
    ebpf::ensure(Warnings::Shown)?;
    let messages = Cmd::cargo()
        .dir(&paths::root()?)
        .args(["test", "--release", "--no-run"])
        .args(["--package", "wellhead-tests", "--test", "kernel"])
        .args(["--message-format", "json-render-diagnostics"])
        .output()?;
    let file = messages.lines().find_map(executable);
    Ok(Program {
        name: "kernel-tests",
        file: file.context("cargo did not say where the kernel tests are")?,
    })
}

/// The file that a message of cargo's says it built (`cargo build --message-format json`).
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    let file = message.get("executable")?.as_str()?;
    (name == "kernel").then(|| PathBuf::from(file))
}
