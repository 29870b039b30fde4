//! Running the binary to its end.

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::pins::Pins;
use super::wait::PATIENCE;

/// The binary under test: `WELLHEAD_BIN`, else the release build beside this test program.
pub(crate) fn binary() -> PathBuf {
    if let Some(binary) = env::var_os("WELLHEAD_BIN") {
        return binary.into();
    }
    // target/<profile>/deps/e2e-<hash>
    let test = env::current_exe().expect("the test program's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let binary = target.join("release/wellhead");
    assert!(
        binary.exists(),
        "there is no {}: set WELLHEAD_BIN, or run `cargo xtask test kernel`",
        binary.display()
    );
    binary
}

/// The binary with these arguments, and with none of this machine's own settings. It keeps nothing in the kernel, and
/// leaves alone what an agent of this machine keeps there.
pub(crate) fn wellhead(arguments: &[&str]) -> Command {
    wrapped(&[], arguments)
}

/// The same, started by another program such as `setpriv`.
pub(crate) fn wrapped(wrapper: &[&str], arguments: &[&str]) -> Command {
    let mut words: Vec<_> = wrapper.iter().map(Into::into).collect();
    words.push(binary().into_os_string());
    words.extend(arguments.iter().map(Into::into));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let foreign = ["WELLHEAD_", "OTEL_", "KUBE", "NODE_NAME"];
        if foreign
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    // `--set` says otherwise where pins are what is tested.
    command
        .env("WELLHEAD_PINS_KEEP", "off")
        .env("WELLHEAD_PINS_DIRECTORY", Pins::none());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Checks the exit code and that standard error says each of `words`.
    #[track_caller]
    pub(crate) fn check(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {self:#?}");
        }
    }
}

/// Runs a command to its end, which must come by itself.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = end(&mut child, PATIENCE);
    Finished {
        code: status.expect("the command ends by itself").code(),
        stdout: stdout.join().expect("standard output"),
        stderr: stderr.join().expect("standard error"),
    }
}

/// Waits for a process to end, and kills it if it does not; `None` says that it had to be killed.
pub(crate) fn end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if Instant::now() > deadline {
            kill(child);
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends a process whatever it takes.
pub(crate) fn kill(child: &mut Child) {
    // It may be gone already.
    drop(child.kill());
    drop(child.wait());
}

fn reader(stream: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).expect("a pipe");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
