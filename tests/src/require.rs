//! Whether a test can run here, and what it means if not.

use std::{env, fmt::Display, io::Write as _, path::Path};

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
    if env::var_os(REQUIRE).is_some_and(|value| value == "1") {
        bail!("{test} must run here ({REQUIRE}=1), but {reason}");
    }
    skip(test, &reason);
    Ok(false)
}

/// Says that a test does not apply to this machine, whatever is required.
pub fn skip(test: &str, reason: &dyn Display) {
    report::note_skip(reason.to_string());
    say(format_args!("SKIPPED: {test}: because {reason}"));
}

/// Prints a line that is part of a test's result, such as a rate. Standard error may be closed.
pub fn say(line: impl Display) {
    writeln!(std::io::stderr(), "{line}").unwrap_or_default();
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
