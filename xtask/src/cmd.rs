//! Running other programs: every command is printed before it runs, and a failure names the command.

mod lines;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use anyhow::{Context as _, Result, bail};

/// Prints one line for the developer, on stderr so that stdout stays the started program's.
#[expect(
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]
pub(crate) fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref());
}

/// A command about to run, with the environment changes worth showing.
#[derive(Debug)]
pub(crate) struct Cmd {
    command: Command,
    shown_env: Vec<String>,
}

impl Cmd {
    /// A command named by path or found on `PATH`.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        // `cargo run` describes xtask itself in these. Left in place they would reach the build
        // scripts of other packages, which would rebuild because of it.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(describes_xtask) {
                command.env_remove(name);
            }
        }
        Self {
            command,
            shown_env: Vec::new(),
        }
    }

    /// The cargo that started xtask.
    pub(crate) fn cargo() -> Self {
        Self::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
    }

    /// A command that runs as root: through sudo if this process is not root itself.
    pub(crate) fn root(program: impl AsRef<OsStr>) -> Result<Self> {
        if is_root() {
            return Ok(Self::new(program));
        }
        if which("sudo").is_none() {
            bail!(
                "{} needs root, and there is no sudo here: run this as root",
                Path::new(program.as_ref()).display()
            );
        }
        Ok(Self::new("sudo")
            .arg(format!("--preserve-env={}", passed_through_sudo()))
            .arg(program))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref();
        self.shown_env
            .push(format!("{name}={}", quoted(&value.to_string_lossy())));
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs to the end; anything but exit status 0 is an error.
    pub(crate) fn run(self) -> Result<()> {
        say(format!("$ {self}"));
        self.run_quietly()
    }

    /// As [`Self::run`], without printing the command.
    pub(crate) fn run_quietly(mut self) -> Result<()> {
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot start `{self}`"))?;
        if !status.success() {
            bail!("`{self}` failed: {status}");
        }
        Ok(())
    }

    /// As [`Self::run`], but returns its standard output as well as showing it, and leaves it to the caller what its
    /// status means.
    pub(crate) fn run_and_keep(mut self) -> Result<(ExitStatus, String)> {
        say(format!("$ {self}"));
        let started = self.command.stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot start `{self}`"))?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let output = child.stdout.take();
        let showing = output.map(|output| {
            let kept = Arc::clone(&kept);
            thread::spawn(move || show_and_keep(output, &kept))
        });
        let status = child.wait()?;
        // What the program started may have outlived it, and has its output still open.
        let ended = Instant::now();
        while showing
            .as_ref()
            .is_some_and(|showing| !showing.is_finished())
            && ended.elapsed() < GRACE
        {
            thread::sleep(Duration::from_millis(10));
        }
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((status, String::from_utf8_lossy(&kept).into_owned()))
    }

    /// As [`Self::run`]; returns its standard output instead of showing it.
    pub(crate) fn output(self) -> Result<String> {
        say(format!("$ {self}"));
        self.output_quietly()
    }

    /// As [`Self::output`], without printing the command.
    pub(crate) fn output_quietly(mut self) -> Result<String> {
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{self}`"))?;
        if !output.status.success() {
            bail!("`{self}` failed: {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{self}` printed no text"))
    }

    /// All it prints, and how it ends, for a command that may fail. Not printed.
    pub(crate) fn capture(mut self) -> Result<Output> {
        self.command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{self}`"))
    }

    /// Starts it and does not wait. All its output goes to a file if one is given.
    pub(crate) fn start(mut self, stdin: Stdio, output: Option<File>) -> Result<Child> {
        if let Some(output) = output {
            self.command.stderr(output.try_clone()?).stdout(output);
        }
        self.command
            .stdin(stdin)
            .spawn()
            .with_context(|| format!("cannot start `{self}`"))
    }

    /// Replaces this process; returns only if that fails.
    pub(crate) fn exec(mut self) -> anyhow::Error {
        say(format!("$ {self}"));
        let error = self.command.exec();
        anyhow::Error::new(error).context(format!("cannot start `{self}`"))
    }

    /// The standard output of a quick question, not printed. `None` if it fails in any way.
    pub(crate) fn ask(mut self) -> Option<String> {
        let output = self
            .command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        if !output.status.success() {
            return None;
        }
        Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
    }

    /// Whether a quick question, not printed, is answered with exit status 0.
    pub(crate) fn succeeds(self) -> bool {
        self.ask().is_some()
    }
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for env in &self.shown_env {
            write!(f, "{env} ")?;
        }
        write!(
            f,
            "{}",
            quoted(&self.command.get_program().to_string_lossy())
        )?;
        for arg in self.command.get_args() {
            write!(f, " {}", quoted(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// How long output may take that is still on its way when its program has ended.
const GRACE: Duration = Duration::from_secs(2);

/// Shows output as it comes.
fn show_and_keep(mut output: impl io::Read, kept: &Mutex<Vec<u8>>) {
    let mut part = [0; 8192];
    let mut shown = io::stdout();
    while let Ok(length @ 1..) = output.read(&mut part) {
        // Whoever closed our output still wants to know how the program ends.
        drop(
            shown
                .write_all(&part[..length])
                .and_then(|()| shown.flush()),
        );
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&part[..length]);
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Finds an executable file on `PATH`, and in the administrators' directories that a plain user's `PATH` lacks.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

/// Makes `path` hold `bytes`, in one step, and leaves it untouched (with its time stamp) if it already does.
/// Returns whether it wrote.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    match fs::read(path) {
        Ok(old) if old == bytes => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("cannot replace {}", path.display()))?;
    Ok(true)
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

fn describes_xtask(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || name == "LD_LIBRARY_PATH"
}

/// sudo clears the environment: these names keep their meaning for the agent and its tests.
fn passed_through_sudo() -> String {
    let ours = |name: &String| {
        name.starts_with("WELLHEAD_")
            || name.starts_with("OTEL_")
            || name.starts_with("CARGO_")
            || name.starts_with("RUST_")
            || matches!(
                name.as_str(),
                "CI" | "KUBECONFIG" | "NODE_NAME" | "DEBIAN_FRONTEND" | "PATH"
            )
    };
    let mut names: Vec<String> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(ours)
        .collect();
    names.sort();
    names.join(",")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_command_as_one_would_type_it() {
        let cmd = Cmd::new("cargo")
            .env("FLAGS", "a b")
            .args(["test", "it's", "", "--x=1"]);
        assert_eq!(
            cmd.to_string(),
            r"FLAGS='a b' cargo test 'it'\''s' '' --x=1"
        );
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = Cmd::new("false").arg("--why").run().unwrap_err();
        assert_eq!(error.to_string(), "`false --why` failed: exit status: 1");
        let error = Cmd::new("/no/such/program").run().unwrap_err();
        assert_eq!(error.to_string(), "cannot start `/no/such/program`");
    }

    #[test]
    fn asks_without_a_trailing_newline() {
        assert_eq!(Cmd::new("echo").arg("yes").ask(), Some("yes".to_owned()));
        assert_eq!(Cmd::new("false").ask(), None);
    }

    #[test]
    fn finds_programs_on_the_path() {
        assert!(which("sh").is_some());
        assert_eq!(which("no-such-program-anywhere"), None);
    }

    #[test]
    fn writes_only_what_changed() {
        let dir = env::temp_dir().join(format!("wellhead-xtask-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("object.o");
        assert!(write_if_changed(&file, b"one").unwrap());
        assert!(!write_if_changed(&file, b"one").unwrap());
        assert!(write_if_changed(&file, b"two").unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"two");
        fs::remove_dir_all(&dir).unwrap();
    }
}
