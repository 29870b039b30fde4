//! An OTLP receiver made from OpenTelemetry's own Python packages.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::command;
use super::requirements::tool;

/// A running receiver; ended when dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    child: Option<Child>,
    directory: TempDir,
    pub(crate) grpc: u16,
    pub(crate) http: u16,
}

/// A data point as the receiver wrote it.
pub(crate) type OtlpPoint = Value;

impl Receiver {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut receiver = Self {
            child: None,
            directory,
            grpc: 0,
            http: 0,
        };
        receiver.start_again();
        receiver
    }

    /// Starts it on the ports it had.
    pub(crate) fn start_again(&mut self) {
        let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/rigs/otlp_receiver.py");
        let mut child = Command::new(tool("WELLHEAD_TEST_PYTHON"))
            .arg(rig)
            .arg(self.directory.path().join("requests"))
            .args(["--grpc", &self.grpc.to_string()])
            .args(["--http", &self.http.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("its ports");
        self.child = Some(child);
        let port = |name: &str| {
            let word = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            word.and_then(|port| port.parse().ok()).expect("a port")
        };
        self.grpc = port("grpc=");
        self.http = port("http=");
    }

    /// Kills it. What it received stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            command::kill(&mut child);
        }
    }

    /// The endpoint for a protocol as `otlp.protocol` names it.
    pub(crate) fn endpoint(&self, protocol: &str) -> String {
        let port = if protocol == "grpc" {
            self.grpc
        } else {
            self.http
        };
        format!("http://127.0.0.1:{port}")
    }

    /// Everything that arrived, oldest first.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let path = self.directory.path().join("requests");
        let text = fs::read_to_string(path).unwrap_or_default();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// The requests of one kind: `metrics` or `traces`.
    pub(crate) fn requests_of(&self, kind: &str) -> Vec<Value> {
        let mut requests = self.requests();
        requests.retain(|request| request["kind"] == kind);
        requests
    }

    /// All spans that arrived.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let requests = self.requests_of("traces");
        let spans = requests.iter().flat_map(|request| items(&request["spans"]));
        spans.collect()
    }

    /// The points of the last reading of the agent's series; empty before there is one.
    pub(crate) fn last_points(&self) -> Vec<OtlpPoint> {
        let last = self.requests_of("metrics").pop();
        last.map_or_else(Vec::new, |request| items(&request["points"]))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}

fn items(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

/// An attribute of a point or span; null if it has none.
pub(crate) fn attribute<'a>(item: &'a Value, key: &str) -> &'a Value {
    &item["attributes"][key]
}

/// A text in a JSON object; empty if it is none.
pub(crate) fn text<'a>(item: &'a Value, key: &str) -> &'a str {
    item[key].as_str().unwrap_or_default()
}
