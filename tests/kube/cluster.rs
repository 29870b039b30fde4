//! The cluster, through kubectl: what a test wants of it, and what it has become.

use std::fmt::Debug;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use serde_json::Value;

/// The directory of the rig, which has the client and its configuration.
const RIG: &str = "WELLHEAD_TEST_KUBE";

/// A CronJob may need two minutes; nothing is measured by this.
const PATIENCE: Duration = Duration::from_mins(4);
const PAUSE: Duration = Duration::from_millis(300);

/// A cluster that is up.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    rig: PathBuf,
}

impl Cluster {
    /// The one that the environment names.
    pub(crate) fn find() -> Option<Self> {
        let rig = env::var_os(RIG).map(PathBuf::from)?;
        let cluster = Self { rig };
        assert!(
            cluster.kubectl().is_file(),
            "{RIG} is set, but there is no cluster in {}",
            cluster.rig.display()
        );
        Some(cluster)
    }

    /// Makes or changes objects.
    pub(crate) fn apply(&self, file: &Path) {
        let file = file.to_str().expect("a path of UTF-8");
        self.run(&["apply", "--filename", file]);
    }

    /// The same from a text.
    pub(crate) fn apply_text(&self, text: &str) {
        let applied = self.feed(&["apply", "--filename=-"], text);
        applied.unwrap_or_else(|error| panic!("kubectl apply: {error}"));
    }

    /// What the API server says to objects that it is not to keep.
    pub(crate) fn try_out(&self, text: &str) -> Result<String, String> {
        self.feed(&["apply", "--dry-run=server", "--filename=-"], text)
    }

    /// Objects, as the API server has them.
    pub(crate) fn get(&self, namespace: &str, what: &[&str]) -> Value {
        let objects = self.try_get(namespace, what);
        objects.unwrap_or_else(|error| panic!("kubectl get {}: {error}", what.join(" ")))
    }

    /// The same, if they are there and the API server is.
    pub(crate) fn try_get(&self, namespace: &str, what: &[&str]) -> Result<Value, String> {
        let get = ["--namespace", namespace, "get", "--output=json"];
        let text = self.attempt(&[&get[..], what].concat())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// What a command prints in a pod, if it succeeds there.
    pub(crate) fn exec(
        &self,
        namespace: &str,
        pod: &str,
        command: &[&str],
    ) -> Result<String, String> {
        self.attempt(&[&["--namespace", namespace, "exec", pod, "--"], command].concat())
    }

    /// What has been asked of the API server, one JSON object each.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let file = self.rig.join("../logs/audit.log");
        let text = fs::read_to_string(file).expect("the API server writes an audit log");
        // The last line may be in the middle of being written.
        let events = text.lines().map(serde_json::from_str);
        events.filter_map(Result::ok).collect()
    }

    /// The chart's program, at this cluster.
    pub(crate) fn helm(&self, args: &[&str]) -> String {
        let program = env::var_os("WELLHEAD_TEST_HELM").expect("the environment names Helm");
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.kubeconfig()).args(args);
        let output = text_of(command);
        output.unwrap_or_else(|error| panic!("helm {}: {error}", args.join(" ")))
    }

    /// The root directory as the node sees it.
    pub(crate) fn node_root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid("node")))
    }

    /// Ends one of the rig's programs and leaves it ended.
    pub(crate) fn kill(&self, part: &str) {
        let killed = Command::new("kill")
            .args(["-s", "KILL", &self.pid(part)])
            .status();
        assert!(killed.is_ok_and(|status| status.success()), "{part}");
    }

    fn pid(&self, part: &str) -> String {
        let pid = fs::read_to_string(self.rig.join("pids").join(part)).expect("the rig keeps it");
        pid.trim().to_owned()
    }

    /// Starts it again.
    pub(crate) fn start(&self, part: &str) {
        let script = self.rig.join("start").join(part);
        let started = Command::new("sh").arg(script).status();
        assert!(started.is_ok_and(|status| status.success()), "{part}");
    }

    /// Whether the API server says that it is ready.
    pub(crate) fn answers(&self) -> Result<(), String> {
        self.attempt(&["--request-timeout=5s", "get", "--raw", "/readyz"])
            .map(drop)
    }

    /// A kubectl for this cluster.
    pub(crate) fn client(&self) -> Command {
        let mut command = Command::new(self.kubectl());
        command
            .env("KUBECONFIG", self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.rig.join("client-cache"));
        command
    }

    fn kubectl(&self) -> PathBuf {
        self.rig.join("kubectl")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.rig.join("kubeconfig")
    }

    fn feed(&self, args: &[&str], text: &str) -> Result<String, String> {
        let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.rewind());
        written.map_err(|error| error.to_string())?;
        let mut command = self.client();
        command.args(args).stdin(Stdio::from(file));
        text_of(command)
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        let result = self.attempt(args);
        result.unwrap_or_else(|error| panic!("kubectl {}: {error}", args.join(" ")))
    }

    fn attempt(&self, args: &[&str]) -> Result<String, String> {
        let mut command = self.client();
        command.args(args);
        text_of(command)
    }
}

/// What a command prints, or what it says if it fails.
/// What a program prints; if it fails, why.
pub(crate) fn text_of(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Says that a test was skipped, past the harness, which keeps what a test prints from sight.
pub(crate) fn skip(test: &str) {
    let reason = format!("{RIG} is not set; `cargo xtask test kube` sets it");
    drop(writeln!(io::stderr(), "SKIPPED: {test} because {reason}"));
}

/// Looks until there is an answer. Until then looking tells what there is instead.
pub(crate) fn until<T, S: Debug>(what: &str, mut look: impl FnMut() -> Result<T, S>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(answer) => return answer,
            Err(instead) => assert!(
                Instant::now() < deadline,
                "waited in vain for {what}; there is {instead:?}"
            ),
        }
        thread::sleep(PAUSE);
    }
}

pub(crate) fn expect(true_by_now: bool, instead: &Value) -> Result<(), String> {
    if true_by_now {
        Ok(())
    } else {
        Err(instead.to_string())
    }
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn owner(object: &Value) -> &Value {
    &object["metadata"]["ownerReferences"][0]["name"]
}
