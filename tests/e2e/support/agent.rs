//! A running agent.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::command::{self, end, wrapped};
use super::exposition::Page;
use super::http::{Response, request};
use super::pins::Pins;
use super::wait::until;
use wellhead_tests::receiver::Receiver;

/// What waits for its export where the machine is busy with other things: spans and events of all it does.
pub(crate) const ROOM: &str = "64MiB";

/// An agent to be.
#[derive(Debug, Default)]
pub(crate) struct AgentBuilder {
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    directory: Option<PathBuf>,
}

impl AgentBuilder {
    /// Sets a key, as `--set` does.
    pub(crate) fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// Exports metrics and spans to a receiver, as soon as there are any.
    pub(crate) fn export_to(self, receiver: &Receiver, protocol: &str) -> Self {
        self.set("otlp.endpoint", receiver.endpoint(protocol))
            .set("otlp.protocol", protocol)
            .set("otlp.interval", "300ms")
    }

    /// The same, with spans of processes. Every process of the machine makes one: there is room for those of a busy one.
    pub(crate) fn export_spans_to(self, receiver: &Receiver, protocol: &str) -> Self {
        self.export_to(receiver, protocol)
            .set("traces.process", "on")
            .set("otlp.queue_size", ROOM)
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Has the agent started by another program, which must become it.
    pub(crate) fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Keeps programs and maps for the next agent.
    pub(crate) fn pins(mut self, pins: &Pins) -> Self {
        self.settings.extend(pins.settings());
        self
    }

    /// Uses a runtime directory of the caller's.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Starts it, and waits until it captures.
    pub(crate) fn start(self) -> Agent {
        let own = tempfile::tempdir().expect("a directory");
        let directory = self.directory.unwrap_or_else(|| own.path().join("run"));
        let mut arguments = vec!["run".to_owned()];
        let fixed = [
            format!("runtime_directory={}", directory.display()),
            "prometheus.listen=127.0.0.1:0".to_owned(),
            "kubernetes.mode=off".to_owned(),
        ];
        for setting in fixed.into_iter().chain(self.settings) {
            arguments.extend(["--set".to_owned(), setting]);
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let wrapper: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        let mut child = wrapped(&wrapper, &words)
            .envs(self.environment)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let log = Log::follow(child.stderr.take().expect("a pipe"));
        let address = log.address(&mut child);
        Agent {
            child,
            log,
            address,
            directory,
            _own: own,
        }
    }
}

/// A running agent; killed when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    log: Log,
    /// Where it serves HTTP.
    pub(crate) address: SocketAddr,
    /// Its runtime directory.
    pub(crate) directory: PathBuf,
    _own: TempDir,
}

/// How an agent ended.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Agent {
    /// An agent with the defaults.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> AgentBuilder {
        AgentBuilder::default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("wellhead.sock")
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// `runtime_directory=…`, for commands that are to meet this agent.
    pub(crate) fn directory_setting(&self) -> String {
        format!("runtime_directory={}", self.directory.display())
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        request(self.address, "GET", path, &[])
    }

    /// A page of `/metrics` in the text format.
    pub(crate) fn metrics(&self) -> Page {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{response:?}");
        Page::parse(&response.text())
    }

    pub(crate) fn status(&self) -> Value {
        let response = self.get("/api/v1/status");
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_str(&response.text()).expect("JSON")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the agent is there");
    }

    /// Sends a signal and waits for the agent's end, which must come before `patience` has.
    pub(crate) fn stop(mut self, signal: Signal, patience: Duration) -> Stopped {
        self.signal(signal);
        let status = end(&mut self.child, patience);
        let status =
            status.unwrap_or_else(|| panic!("still runs after {patience:?}: {}", self.log()));
        self.log.wait();
        Stopped {
            code: status.code(),
            log: self.log.text(),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        command::kill(&mut self.child);
        if thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log.text());
        }
    }
}

/// A log that another thread collects.
#[derive(Debug)]
struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    fn follow(stream: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut text = collected.lock().unwrap_or_else(PoisonError::into_inner);
                *text += &line;
                text.push('\n');
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }

    /// Waits until nobody can write it any more.
    fn wait(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log's reader");
        }
    }

    fn address(&self, child: &mut Child) -> SocketAddr {
        until("the agent to capture", || {
            let text = self.text();
            let found = text.lines().find_map(|line| {
                let (_, rest) = line.split_once("capturing listen=")?;
                rest.split(' ').next()?.parse().ok()
            });
            if found.is_none() {
                let ended = child.try_wait().expect("a child of ours");
                assert!(
                    ended.is_none(),
                    "the agent ended, {ended:?}:\n{}",
                    self.text()
                );
            }
            found
        })
    }
}
