//! TLS, certificates and tokens of the HTTP listener, as other people's clients see them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Agent, AgentBuilder, Finished, Need, finish, ready, until, wellhead};

/// What `make.sh` there has made.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../agent/tests/tls")
        .join(name)
}

/// Files that change.
struct Files(TempDir);

impl Files {
    /// Ours, and a token.
    fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        files.become_those_of("ours");
        files.put("token", b"s3cret\n");
        files
    }

    fn become_those_of(&self, authority: &str) {
        for part in ["cert", "key"] {
            let content = fs::read(certificate(&format!("{authority}-{part}.pem")));
            self.put(&format!("{part}.pem"), &content.expect("readable"));
        }
    }

    /// As Kubernetes renews what it mounts: by another file.
    fn put(&self, name: &str, content: &[u8]) {
        let fresh = self.path("fresh");
        fs::write(&fresh, content).expect("written");
        fs::rename(&fresh, self.path(name)).expect("renamed");
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    fn agent(&self) -> AgentBuilder {
        Agent::builder()
            .set("prometheus.tls.cert_file", self.path("cert.pem"))
            .set("prometheus.tls.key_file", self.path("key.pem"))
    }
}

/// What curl comes to: its exit code, and the status and text of the answer.
fn curl(agent: &Agent, scheme: &str, path: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("{scheme}://{}{path}", agent.address);
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--write-out",
        "\n%{http_code}",
        "--max-time",
        "30",
    ]);
    let Finished { code, stdout, .. } = finish(command.args(arguments).arg(url));
    (code, stdout)
}

fn status(answer: &(Option<i32>, String)) -> &str {
    answer.1.lines().last().expect("a status")
}

#[test]
fn readers_bring_a_certificate_and_a_token_and_probes_nothing() {
    if !ready(&[Need::Program("curl")]) {
        return;
    }
    let files = Files::new();
    let authority = certificate("ours-ca.pem");
    let agent = files
        .agent()
        .set("prometheus.tls.client_ca_file", authority.display())
        .set("prometheus.bearer_token_file", files.path("token"))
        .start();
    let ca = authority.to_str().expect("UTF-8");
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    let token = "Authorization: Bearer s3cret";
    let certified = ["--cacert", ca, "--cert", &cert, "--key", &key];
    let with = |more: &[&str]| {
        curl(
            &agent,
            "https",
            "/metrics",
            &[&certified[..], more].concat(),
        )
    };

    let page = with(&["--header", token]);
    assert_eq!(status(&page), "200", "{page:?}");
    assert!(page.1.contains("wellhead_build_info"), "{page:?}");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        assert_eq!(
            status(&with(&["--header", token, version])),
            "200",
            "{version}"
        );
    }
    assert_eq!(status(&with(&[])), "401");
    assert_eq!(
        status(&with(&["--header", "Authorization: Bearer s3cre"])),
        "401"
    );
    let bare = curl(
        &agent,
        "https",
        "/metrics",
        &["--cacert", ca, "--header", token],
    );
    assert_eq!(status(&bare), "403", "{bare:?}");
    // As the kubelet asks: it believes anybody, and has nothing to show.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            status(&curl(&agent, "https", path, &["--insecure"])),
            "200",
            "{path}"
        );
    }
    let plain = curl(&agent, "http", "/metrics", &["--header", token]);
    assert_ne!(plain.0, Some(0), "{plain:?}");
    assert_eq!(status(&plain), "000", "{plain:?}");
    let others = certificate("others-ca.pem");
    let others = others.to_str().expect("UTF-8");
    let stranger = curl(&agent, "https", "/healthz", &["--cacert", others]);
    assert_eq!(stranger.0, Some(60), "{stranger:?}");
    let log = agent.log();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn renewed_files_are_taken_up_and_bad_ones_left_aside() {
    if !ready(&[Need::Program("curl")]) {
        return;
    }
    let files = Files::new();
    let agent = files
        .agent()
        .set("prometheus.bearer_token_file", files.path("token"))
        .start();
    let trusted = |authority: &str, token: &str| {
        let ca = certificate(&format!("{authority}-ca.pem"));
        let ca = ca.to_str().expect("UTF-8");
        let header = format!("Authorization: Bearer {token}");
        curl(
            &agent,
            "https",
            "/metrics",
            &["--cacert", ca, "--header", &header],
        )
    };
    assert_eq!(status(&trusted("ours", "s3cret")), "200");
    files.become_those_of("others");
    files.put("token", b"an0ther");
    until("the other certificate and token", || {
        (status(&trusted("others", "an0ther")) == "200").then_some(())
    });
    files.put("cert.pem", b"no certificate");
    files.put("token", b"");
    until("a complaint of each", || {
        let log = agent.log();
        let told = log.matches("going on with the files there were before");
        (told.count() == 2).then_some(())
    });
    assert_eq!(status(&trusted("others", "an0ther")), "200");
    files.become_those_of("ours");
    until("a good certificate", || {
        (status(&trusted("ours", "an0ther")) == "200").then_some(())
    });
}

#[test]
fn files_that_cannot_be_used_keep_an_agent_from_starting() {
    let files = Files::new();
    let config = files.path("wellhead.yaml");
    let check = |content: &str, words: &[&str]| {
        fs::write(&config, content).expect("written");
        for arguments in [
            ["config", "check", &config].as_slice(),
            &["run", "--config", &config],
        ] {
            finish(&mut wellhead(arguments)).check(64, words);
        }
    };
    let tls = |cert: &str, key: &str| {
        format!("prometheus:\n  tls:\n    cert_file: {cert}\n    key_file: {key}\n")
    };
    let (cert, key, token) = (
        files.path("cert.pem"),
        files.path("key.pem"),
        files.path("token"),
    );
    check(
        &tls("/nonexistent.pem", &key),
        &["prometheus.tls: cannot read /nonexistent.pem: No such file"],
    );
    check(
        &tls(&cert, &token),
        &["prometheus.tls", "token holds no PEM key that can be used"],
    );
    check(
        &tls(&token, &key),
        &[
            "prometheus.tls",
            "token holds no PEM certificates that can be used",
        ],
    );
    let others = certificate("others-key.pem");
    check(
        &tls(&cert, others.to_str().expect("UTF-8")),
        &["prometheus.tls", "cannot be used together"],
    );
    check(
        "prometheus: {bearer_token_file: /nonexistent}\n",
        &["prometheus.bearer_token_file: cannot read /nonexistent"],
    );
    // The resolver's are none of an agent's.
    fs::write(&config, "resolver: {tls: {cert_file: /c, key_file: /k}}\n").expect("written");
    let resolver = |words: &[&str]| finish(&mut wellhead(words));
    resolver(&["config", "check", &config])
        .check(64, &["wellhead.yaml:1:18: resolver.tls: cannot read /c"]);
    resolver(&["resolver", "--config", &config]).check(64, &["resolver.tls: cannot read /c"]);

    let expired = certificate("ours-expired-cert.pem");
    fs::write(&config, tls(expired.to_str().expect("UTF-8"), &key)).expect("written");
    let checked = finish(&mut wellhead(&["config", "check", &config]));
    checked.check(0, &["warning: ", "prometheus.tls: ", "certificate expired"]);
}

#[test]
fn doctor_reads_the_files() {
    if !ready(&[]) {
        return;
    }
    let files = Files::new();
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    let doctor = |key: &str| {
        let cert = format!("prometheus.tls.cert_file={cert}");
        let key = format!("prometheus.tls.key_file={key}");
        let arguments = ["doctor", "--json", "--set", &cert, "--set", &key];
        let finished = finish(&mut wellhead(&arguments));
        let report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
        let told = report["files"]["prometheus.tls"].as_str().expect("a text");
        (finished.code, told.to_owned())
    };
    assert_eq!(doctor(&key), (Some(0), "can be used".to_owned()));
    let (code, told) = doctor("/nonexistent.pem");
    assert_eq!(code, Some(1));
    assert!(told.starts_with("cannot read /nonexistent.pem"), "{told}");
}
