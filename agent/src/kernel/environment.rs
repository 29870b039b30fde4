//! Facts about this machine that decide what can be captured.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{Capabilities, Feature, Hooks, btf::Btf, kernel_config};

/// What is shown where nobody tells.
const UNKNOWN: &str = "unknown";

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    #[serde(skip)]
    name: &'static str,
    /// What was found; `unknown` where it cannot be read.
    value: String,
    /// What follows from it, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

impl Fact {
    /// A fact without consequences.
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self {
            name,
            value: value.into(),
            hint: None,
        }
    }

    /// The fact, and what follows from it.
    #[must_use]
    pub fn with_hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    /// The fact, and what follows from it if it is one of these values.
    fn but(self, values: &[&str], hint: &'static str) -> Self {
        let matters = values.contains(&self.value.as_str());
        Self {
            hint: if matters { Some(hint) } else { self.hint },
            ..self
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What was found.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What follows from it, where something does.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// What `doctor` and the status show about the machine.
#[derive(Clone, Debug)]
pub struct Environment {
    /// In the order they are shown, their names unique.
    pub facts: Vec<Fact>,
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.facts.len()))?;
        for fact in &self.facts {
            map.serialize_entry(fact.name, fact)?;
        }
        map.end()
    }
}

impl Environment {
    /// Looks around.
    pub fn probe() -> Self {
        // A hook that cannot be followed keeps the agent from starting: there is nobody to ask then.
        let hooks = Hooks::from_environment().unwrap_or_default();
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy();
        let mounts = Mounts::read();
        let mut facts = vec![Fact::new("kernel", &*release)];
        facts.extend(btf(hooks.btf_path(), || {
            // Parsing takes milliseconds, and what a kernel shows stays as it is.
            static USABLE: OnceLock<bool> = OnceLock::new();
            *USABLE.get_or_init(|| Btf::check(hooks.btf_path()).is_ok())
        }));
        facts.push(lockdown());
        facts.extend(cgroups(&mounts));
        facts.push(tracefs(&mounts));
        facts.push(bpffs(&mounts));
        facts.extend(sysctls());
        facts.push(pid_namespace());
        facts.push(capabilities());
        let config = kernel_config::read(&release);
        facts.extend(kernel_config::OPTIONS.map(|option| {
            let value = config.as_ref().map_or(UNKNOWN, |config| {
                config.get(option).map_or("n", String::as_str)
            });
            Fact::new(option, value)
        }));
        Self { facts }
    }
}

fn btf(path: &Path, is_usable: impl FnOnce() -> bool) -> [Fact; 2] {
    let size = fs::metadata(path).map(|file| file.len());
    let found = match &size {
        Ok(_) if fs::File::open(path).is_err() => UNKNOWN,
        Ok(_) if is_usable() => "yes",
        Ok(_) => "broken",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "no",
        Err(_) => UNKNOWN,
    };
    let hint = "without BTF only lifecycles can be told: the kernel needs CONFIG_DEBUG_INFO_BTF=y";
    [
        Fact::new("btf", found).but(&["no"], hint).but(
            &["broken"],
            "the kernel's types cannot be parsed, and without them only lifecycles can be told",
        ),
        Fact::new(
            "btf_bytes",
            size.map_or(UNKNOWN.to_owned(), |size| size.to_string()),
        ),
    ]
}

fn lockdown() -> Fact {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let value = chosen(&text).unwrap_or(UNKNOWN);
    let hint = "the kernel lets no program read its memory";
    Fact::new("lockdown", value).but(&["confidentiality"], hint)
}

fn cgroups(mounts: &Mounts) -> [Fact; 2] {
    let mode = match (mounts.of("cgroup2"), mounts.of("cgroup")) {
        (Found::Unknown, _) => UNKNOWN,
        (Found::At(_), Found::At(_)) => "hybrid",
        (Found::At(_), _) => "unified",
        (Found::Nowhere, Found::At(_)) => "legacy",
        (Found::Nowhere, _) => "absent",
    };
    let hint = "without cgroup v2 everything that ran before the agent counts for the node";
    [
        Fact::new("cgroups", mode).but(&["legacy", "absent"], hint),
        Fact::new("cgroup2_mount", mounts.of("cgroup2").shown()),
    ]
}

fn tracefs(mounts: &Mounts) -> Fact {
    // Only where BTF is missing does anything need it, and then the features say so.
    Fact::new("tracefs", mounts.of("tracefs").shown())
}

/// Where programs and maps outlive the agent.
fn bpffs(mounts: &Mounts) -> Fact {
    let path = Path::new("/sys/fs/bpf");
    let value = match mounts.paths("bpf") {
        None => UNKNOWN,
        Some(paths) if !paths.iter().any(|mount| mount == path) => "not mounted",
        Some(_) if rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok() => "writable",
        Some(_) => "not writable",
    };
    let hint = "a restarted agent misses what happens meanwhile: /sys/fs/bpf has to be a writable bpf file system";
    Fact::new("bpffs", value).but(&["not mounted", "not writable"], hint)
}

fn sysctls() -> [Fact; 4] {
    let value = |path: &str| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(path));
        text.map_or(UNKNOWN.to_owned(), |text| text.trim().to_owned())
    };
    [
        Fact::new("bpf_jit_enable", value("net/core/bpf_jit_enable")).but(
            &["0"],
            "programs are interpreted, which costs several times as much",
        ),
        Fact::new("perf_event_paranoid", value("kernel/perf_event_paranoid")),
        Fact::new(
            "unprivileged_bpf_disabled",
            value("kernel/unprivileged_bpf_disabled"),
        ),
        Fact::new("bpf_stats_enabled", value("kernel/bpf_stats_enabled")).but(
            &["1"],
            "every BPF program on this machine is being measured, which costs a little each time",
        ),
    ]
}

/// Whether the agent is in the host's PID namespace, where `/proc` shows every process; `None` if that is not known.
pub(super) fn sees_all_processes() -> Option<bool> {
    // `PROC_PID_INIT_INO` (include/linux/proc_ns.h).
    const INITIAL: u64 = 0xEFFF_FFFC;
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
    Some(namespace.ino() == INITIAL)
}

fn pid_namespace() -> Fact {
    let value = match sees_all_processes() {
        Some(true) => "host",
        Some(false) => "own",
        None => UNKNOWN,
    };
    let hint = "processes and sockets that are older than the agent, and its own, cannot be told from others: set hostPID";
    Fact::new("pid_namespace", value).but(&["own"], hint)
}

/// Those that every feature needs.
fn capabilities() -> Fact {
    let missing = Capabilities::current().map(|set| set.missing(Feature::Process.capabilities()));
    let value = match missing {
        Err(_) => UNKNOWN.to_owned(),
        Ok(missing) if missing.is_empty() => "none missing".to_owned(),
        Ok(missing) => format!("missing {}", super::abilities::names(&missing).join(", ")),
    };
    Fact::new("capabilities", value)
}

/// `/proc/self/mountinfo`; `None` if it cannot be read.
struct Mounts(Option<String>);

/// Where a file system is mounted.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    At(PathBuf),
    Nowhere,
    Unknown,
}

impl Found {
    fn shown(&self) -> String {
        match self {
            Self::At(path) => path.display().to_string(),
            Self::Nowhere => "not mounted".to_owned(),
            Self::Unknown => UNKNOWN.to_owned(),
        }
    }
}

impl Mounts {
    fn read() -> Self {
        Self(fs::read_to_string("/proc/self/mountinfo").ok())
    }

    /// Where file systems of a type are mounted.
    fn paths(&self, kind: &str) -> Option<Vec<PathBuf>> {
        let mounts = self.0.as_ref()?.lines().filter_map(mount);
        let paths = mounts.filter(|(found, _)| *found == kind);
        Some(paths.map(|(_, path)| PathBuf::from(path)).collect())
    }

    /// Where a file system of a type is mounted first.
    fn of(&self, kind: &str) -> Found {
        match self.paths(kind) {
            None => Found::Unknown,
            Some(paths) => paths.into_iter().next().map_or(Found::Nowhere, Found::At),
        }
    }
}

/// Type and mount point of a line of `/proc/self/mountinfo` (`proc(5)`): the type stands behind the lone hyphen.
fn mount(line: &str) -> Option<(&str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    Some((right.split(' ').next()?, left.split(' ').nth(4)?))
}

/// The value in brackets of `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_cgroup_modes_apart() {
        let v1 = "31 24 0:26 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu";
        let v2 = "30 24 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        let check = |text: Option<&str>, mode, at| {
            let [found, mount] = cgroups(&Mounts(text.map(str::to_owned)));
            assert_eq!((found.value(), mount.value()), (mode, at), "{text:?}");
        };
        check(Some(v2), "unified", "/sys/fs/cgroup");
        check(Some(v1), "legacy", "not mounted");
        check(Some(&format!("{v1}\n{v2}")), "hybrid", "/sys/fs/cgroup");
        let other = "22 1 0:20 / /proc rw - proc proc rw";
        check(Some(other), "absent", "not mounted");
        check(Some("garbage"), "absent", "not mounted");
        check(None, "unknown", "unknown");
    }

    #[test]
    fn tells_broken_types_from_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("btf");
        let check = |expected: &str, has_hint: bool| {
            let [fact, _] = btf(&path, || Btf::check(&path).is_ok());
            assert_eq!(fact.value(), expected);
            assert_eq!(fact.hint().is_some(), has_hint, "{expected}");
        };
        check("no", true);
        fs::write(&path, "garbage").expect("written");
        check("broken", true);
    }

    #[test]
    fn reads_the_chosen_lockdown() {
        assert_eq!(
            chosen("none [integrity] confidentiality\n"),
            Some("integrity")
        );
        assert_eq!(chosen("none"), None);
    }

    #[test]
    fn hints_only_where_something_follows() {
        let check = |value, hint| {
            let fact = Fact::new("x", value).but(&["0", "off"], "do something");
            assert_eq!(fact.hint(), hint, "{value}");
        };
        check("0", Some("do something"));
        check("1", None);
        check("unknown", None);
    }

    #[test]
    fn facts_are_named_once_and_never_empty() {
        let facts = Environment::probe().facts;
        let mut names: Vec<_> = facts.iter().map(Fact::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), facts.len());
        assert!(facts.iter().all(|fact| !fact.value().is_empty()));
    }
}
