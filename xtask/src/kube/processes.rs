//! The processes of a rig. They are known by their environment, not by files with numbers in them: a rig that died halfway
//! is found as well as one that is up, and no process of somebody else's.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::rig::Rig;
use crate::cmd::{Cmd, quoted};

/// Is in the environment of every process of a rig, and names the rig's directory. Containers have environments of their
/// own.
const RIG: &str = "WELLHEAD_KUBE_RIG";
/// Which of the rig's programs it is.
const PART: &str = "WELLHEAD_KUBE_PART";

/// A process of the rig.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The program that it is, or that started it.
    pub(super) part: String,
}

/// Starts a program that lives on when this one ends. The rig keeps how that is done (`start/PART`) and the number of the
/// process (`pids/PART`), so that tests can end one part and start it again.
pub(super) fn start(rig: &Rig, part: &str, cmd: &Cmd) -> Result<u32> {
    for directory in ["start", "pids"] {
        fs::create_dir_all(rig.path(directory))?;
    }
    let script = rig.path("start").join(part);
    let pid = rig.path("pids").join(part);
    let shown = |path: &Path| quoted(&path.to_string_lossy());
    let text = format!(
        "{RIG}={} {PART}={part} {cmd} < /dev/null >> {} 2>&1 &\necho $! > {}\n",
        shown(rig.directory()),
        shown(&rig.log(part)),
        shown(&pid)
    );
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    Cmd::new("sh")
        .arg(&script)
        // Until the program runs in its place, its process has the environment of this shell.
        .env(RIG, rig.directory())
        .env(PART, part)
        .run_quietly()?;
    let pid = fs::read_to_string(&pid).with_context(|| format!("{part} has no process"))?;
    pid.trim()
        .parse()
        .with_context(|| format!("{part} has no process"))
}

/// Closes what the starter of this program left open for it: a lock or a pipe that is held for the time of one command must
/// not be held for as long as a rig lives.
const WITHOUT_INHERITANCE: &str = r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec "$@""#;

/// A command in a session of its own, so that neither a terminal's end nor its interrupt key reaches it.
pub(super) fn detached(program: impl AsRef<OsStr>) -> Cmd {
    // Each becomes the next, so the process id is the program's.
    Cmd::new("setsid")
        .args(["sh", "-c", WITHOUT_INHERITANCE, "sh"])
        .arg(program)
}

/// All that run.
pub(super) fn running(rig: &Rig) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Processes end while one looks, and those of others may not be looked at.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if let Some(part) = part_of(&environment, rig.directory()) {
            found.push(Process { pid, part });
        }
    }
    Ok(found)
}

/// Ends processes at once.
pub(super) fn kill(pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        // Fails for those that have ended by themselves; whoever asked looks again.
        Cmd::new("kill").args(["-s", "KILL"]).args(pids).ask();
    }
}

fn part_of(environment: &[u8], rig: &Path) -> Option<String> {
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    if value(RIG)? != rig.as_os_str().as_bytes() {
        return None;
    }
    let part = value(PART).unwrap_or_default();
    Some(String::from_utf8_lossy(part).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_another_rig_are_not_ours() {
        let check = |text: &str, expected: Option<&str>| {
            let environment = text.replace(' ', "\0");
            let part = part_of(environment.as_bytes(), Path::new("/t/run"));
            assert_eq!(part.as_deref(), expected, "{text}");
        };
        let ours = "A=b WELLHEAD_KUBE_RIG=/t/run WELLHEAD_KUBE_PART=etcd ";
        check(ours, Some("etcd"));
        check("WELLHEAD_KUBE_RIG=/t/run2 WELLHEAD_KUBE_PART=etcd ", None);
        check("XWELLHEAD_KUBE_RIG=/t/run ", None);
        check("", None);
    }
}
