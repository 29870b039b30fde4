//! Whether a test can run here, and what it means if not.

use std::{
    env,
    fmt::Display,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Result, bail};
use wellhead::identity::scan::find_mount;
use wellhead::kernel::{Capabilities, Capability};

use crate::report;

/// Set to `1` where the kernel tests must run: what would be skipped fails.
pub const REQUIRE: &str = "WELLHEAD_REQUIRE_KERNEL";

/// Whether the agent's programs can be loaded here. If not, `test` is skipped, or fails where it must run.
///
/// # Errors
/// They cannot, and [`REQUIRE`] is set.
pub fn kernel(test: &str) -> Result<bool> {
    let Some(reason) = obstacle() else {
        return Ok(true);
    };
    if is_set(REQUIRE) {
        bail!("{test} must run here ({REQUIRE}=1), but {reason}");
    }
    skip(test, &reason);
    Ok(false)
}

/// Set to `1` on a machine with nothing on it but the tests, such as a virtual one: what is missing there is expected to.
pub const BARE: &str = "WELLHEAD_TEST_BARE";

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| value == "1")
}

/// Whether a program is on the path. If not, `test` is skipped, or fails where it must run; on a bare machine it never must.
///
/// # Errors
/// It is not, and [`REQUIRE`] is set.
pub fn program(test: &str, name: &str) -> Result<bool> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|place| place.join(name).is_file()) {
        return Ok(true);
    }
    skip_if_bare(test, &format_args!("there is no {name}"))
}

/// Skips a test for a reason that is none on a whole machine where it must run.
///
/// # Errors
/// [`REQUIRE`] is set, and [`BARE`] is not.
pub fn skip_if_bare(test: &str, reason: &dyn Display) -> Result<bool> {
    if is_set(REQUIRE) && !is_set(BARE) {
        bail!("{test} must run here ({REQUIRE}=1), but {reason}");
    }
    skip(test, reason);
    Ok(false)
}

/// Whether the machine is a virtual one with nothing on it, on which a test is left out for this reason.
pub fn left_out_if_bare(test: &str, reason: &dyn Display) -> bool {
    let is_bare = is_bare();
    if is_bare {
        skip(test, reason);
    }
    is_bare
}

/// Whether the machine is such a one: emulated, as a rule, and slow.
pub fn is_bare() -> bool {
    is_set(BARE)
}

/// Set to `1` where there is no time for tests that take a minute or more on such a machine.
pub const BRIEF: &str = "WELLHEAD_TEST_BRIEF";

/// Whether there is none.
pub fn is_brief() -> bool {
    is_set(BRIEF)
}

/// Whether this machine's kernel keeps its first process to itself, even from root. Such a kernel, of some small virtual machines,
/// runs no programs of anybody's while that process is on a processor, and does not count that it did not: what interrupts do
/// then is not told.
pub fn first_process_is_hidden() -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    fs::read_link("/proc/1/ns/net").as_ref().is_err_and(denied)
}

/// Says that a test does not apply to this machine, whatever is required.
pub fn skip(test: &str, reason: &dyn Display) {
    report::note_skip(reason.to_string());
    say(format_args!("SKIPPED: {test}: because {reason}"));
}

/// Prints a line that is part of a test's result, such as a rate. Standard error may be closed.
pub fn say(line: impl Display) {
    writeln!(io::stderr(), "{line}").unwrap_or_default();
}

/// What keeps the programs from being loaded.
fn obstacle() -> Option<String> {
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel shows no BTF".to_owned());
    }
    let needed = [Capability::Bpf, Capability::Perfmon];
    let missing = match Capabilities::current() {
        Ok(set) => set.missing(&needed),
        Err(error) => return Some(format!("the capabilities cannot be read: {error}")),
    };
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Some(format!("{} is missing", names.join(" and ")));
    }
    if !rustix::process::geteuid().is_root() {
        return Some("cgroups and namespaces can be made by root only".to_owned());
    }
    find_mount().err().map(|error| error.to_string())
}
