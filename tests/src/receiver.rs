//! An OTLP receiver made from OpenTelemetry's own Python packages.

use std::env;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A running receiver; ended when dropped.
#[derive(Debug)]
pub struct Receiver {
    child: Option<Child>,
    talk: Option<(ChildStdin, BufReader<ChildStdout>)>,
    directory: TempDir,
    host: String,
    /// The port of OTLP over gRPC.
    pub grpc: u16,
    /// The port of OTLP over HTTP.
    pub http: u16,
}

/// A data point as the receiver wrote it.
pub type OtlpPoint = Value;

impl Receiver {
    /// Starts one on loopback.
    ///
    /// # Panics
    /// It does not start, or `WELLHEAD_TEST_PYTHON` does not name a Python with what it needs.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on("127.0.0.1")
    }

    /// Starts one on an address of this machine.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_on(host: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut receiver = Self {
            child: None,
            talk: None,
            directory,
            host: host.to_owned(),
            grpc: 0,
            http: 0,
        };
        receiver.start_again();
        receiver
    }

    /// Starts it on the ports it had.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_again(&mut self) {
        let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/rigs/otlp_receiver.py");
        let python = env::var_os("WELLHEAD_TEST_PYTHON").map(PathBuf::from);
        let mut child = Command::new(python.expect("WELLHEAD_TEST_PYTHON"))
            .arg(rig)
            .arg(self.directory.path().join("requests"))
            .args(["--host", &self.host])
            .args(["--grpc", &self.grpc.to_string()])
            .args(["--http", &self.http.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python");
        let mut line = String::new();
        let mut heard = BufReader::new(child.stdout.take().expect("a pipe"));
        heard.read_line(&mut line).expect("its ports");
        self.talk = Some((child.stdin.take().expect("a pipe"), heard));
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

    /// Has it answer a request to come otherwise than with success; several are used in order. What an answer can be stands
    /// in the rig's file.
    ///
    /// # Panics
    /// It is not running.
    pub fn answer_next(&mut self, answer: &Value) {
        let (said, heard) = self.talk.as_mut().expect("a running receiver");
        writeln!(said, "{answer}").expect("somebody to tell");
        let mut line = String::new();
        heard.read_line(&mut line).expect("a confirmation");
        assert_eq!(line, "\n", "not understood: {answer}");
    }

    /// Kills it. What it received stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// The endpoint for a protocol as `otlp.protocol` names it.
    #[must_use]
    pub fn endpoint(&self, protocol: &str) -> String {
        let port = if protocol == "grpc" {
            self.grpc
        } else {
            self.http
        };
        format!("http://{}:{port}", self.host)
    }

    /// Everything that arrived, oldest first.
    ///
    /// # Panics
    /// The receiver wrote what is not JSON.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.requests_after(&mut 0)
    }

    /// What arrived after a place in the record of all, oldest first. The place moves on.
    ///
    /// # Panics
    /// The receiver wrote what is not JSON.
    pub fn requests_after(&self, place: &mut u64) -> Vec<Value> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.directory.path().join("requests"))?;
            file.seek(SeekFrom::Start(*place))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let mut bytes = read().unwrap_or_default();
        let complete = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(complete.map_or(0, |end| end + 1));
        *place += bytes.len() as u64;
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    }

    /// The requests of one kind: `metrics`, `traces` or `logs`.
    #[must_use]
    pub fn requests_of(&self, kind: &str) -> Vec<Value> {
        let mut requests = self.requests();
        requests.retain(|request| request["kind"] == kind);
        requests
    }

    /// All spans that arrived.
    #[must_use]
    pub fn spans(&self) -> Vec<Value> {
        let requests = self.requests_of("traces");
        let spans = requests.iter().flat_map(|request| items(&request["spans"]));
        spans.collect()
    }

    /// All log records that arrived.
    #[must_use]
    pub fn log_records(&self) -> Vec<Value> {
        let requests = self.requests_of("logs");
        let records = requests
            .iter()
            .flat_map(|request| items(&request["records"]));
        records.collect()
    }

    /// All points that arrived, oldest first.
    #[must_use]
    pub fn points(&self) -> Vec<OtlpPoint> {
        let requests = self.requests_of("metrics");
        let points = requests
            .iter()
            .flat_map(|request| items(&request["points"]));
        points.collect()
    }

    /// The points of the last reading of the agent's series; empty before there is one.
    #[must_use]
    pub fn last_points(&self) -> Vec<OtlpPoint> {
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
#[must_use]
pub fn attribute<'a>(item: &'a Value, key: &str) -> &'a Value {
    &item["attributes"][key]
}

/// A text in a JSON object; empty if it is none.
#[must_use]
pub fn text<'a>(item: &'a Value, key: &str) -> &'a str {
    item[key].as_str().unwrap_or_default()
}
