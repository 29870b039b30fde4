//! The HTTP listener beside the content of `/metrics`.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use flate2::read::GzDecoder;

use crate::support::{Agent, Page, Pins, Programs, ready, request, send, text};

#[test]
fn every_page_answers() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let root = agent.get("/");
    assert_eq!(
        (root.status, root.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    for page in ["/metrics", "/healthz", "/readyz", "/api/v1/status"] {
        assert!(
            root.text().contains(&format!("href=\"{page}\"")),
            "{}",
            root.text()
        );
        assert_eq!(agent.get(page).status, 200, "{page}");
    }
    assert_eq!(agent.get("/healthz").text(), "ok\n");
    assert_eq!(
        agent.get("/readyz").text(),
        r#"{"ready":true,"missing":[]}"#
    );
    for page in ["/nope", "/metrics/", "/api/v1/events", "/api/v1"] {
        assert_eq!(agent.get(page).status, 404, "{page}");
    }
    for page in ["/metrics", "/healthz", "/readyz", "/api/v1/status"] {
        let response = request(agent.address, "POST", page, &[("content-length", "0")]);
        assert_eq!(
            (response.status, response.header("allow")),
            (405, "GET,HEAD"),
            "{page}"
        );
    }
    let head = request(agent.address, "HEAD", "/metrics", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn the_status_tells_what_is_captured() {
    if !ready(&[]) {
        return;
    }
    let pins = Pins::new();
    let agent = Agent::builder().pins(&pins).start();
    let program = Programs::new().link("/bin/true", "true");
    let before = agent.status();
    program.run_times(5, &[]);
    let status = agent.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["environment"]["btf"]["value"], "yes");
    let features: Vec<_> = status["features"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    let names = features
        .iter()
        .map(|feature| (text(feature, "feature"), text(feature, "mechanism")));
    let expected = [
        ("identity", "tp_btf"),
        ("process", "tp_btf"),
        ("tcp", "tp_btf"),
        ("tcp_health", "tp_btf"),
        ("udp", "cgroup_skb"),
        ("dns", "cgroup_skb"),
        ("drops", "tp_btf"),
        ("live_processes", "iter/task"),
        ("live_connections", "iter/task_file"),
        ("restart", "bpffs"),
        ("conntrack", "ctnetlink"),
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert!(
        features.iter().all(|feature| feature["state"] == "on"),
        "{features:?}"
    );
    assert!(status["kubernetes"].is_null() && status["otlp"]["metrics"].is_null());
    let execs =
        |status: &serde_json::Value| status["records"]["exec"]["read"].as_u64().expect("a count");
    assert!(execs(&status) >= execs(&before) + 5, "{before} {status}");
    assert_eq!(status["discards"]["decode"]["bad_length"], 0);
    assert!(status["series"].as_u64().expect("a count") > 10);
}

#[test]
fn the_status_is_for_this_machine_unless_it_is_switched_on() {
    if !ready(&[]) {
        return;
    }
    let check = |listen: &str, mode: &str, expected: u16| {
        let agent = Agent::builder()
            .set("prometheus.listen", listen)
            .set("prometheus.status", mode)
            .start();
        let loopback = ([127, 0, 0, 1], agent.address.port()).into();
        let response = request(loopback, "GET", "/api/v1/status", &[]);
        assert_eq!(response.status, expected, "{listen} {mode}");
    };
    check("0.0.0.0:0", "auto", 404);
    check("0.0.0.0:0", "on", 200);
    check("127.0.0.1:0", "off", 404);
}

#[test]
fn gzip_on_request() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(3, &[]);
    let plain = agent.get("/metrics");
    assert_eq!(plain.header("content-encoding"), "");
    let packed = request(
        agent.address,
        "GET",
        "/metrics",
        &[("accept-encoding", "gzip")],
    );
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(
        packed.body.len() < plain.body.len() / 2,
        "{} {}",
        packed.body.len(),
        plain.body.len()
    );
    let mut text = String::new();
    GzDecoder::new(&*packed.body)
        .read_to_string(&mut text)
        .expect("gzip");
    let name = [("process_executable_name", &*program.name)];
    assert_eq!(
        Page::parse(&text).sum("wellhead_process_execs_total", &name),
        3
    );
}

#[test]
fn many_at_once_are_answered() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(3, &[]);
    let name = [("process_executable_name", &*program.name)];
    thread::scope(|scope| {
        let scrapes: Vec<_> = (0..20).map(|_| scope.spawn(|| agent.metrics())).collect();
        for scrape in scrapes {
            let page = scrape.join().expect("a page");
            assert_eq!(page.sum("wellhead_process_execs_total", &name), 3);
        }
    });
}

#[test]
fn slow_clients_hold_up_nobody() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    // Some say nothing, some stop in the middle of a word, some do not read what they asked for.
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..15 {
        slow.push(TcpStream::connect(agent.address).expect("a connection"));
        let mut half = TcpStream::connect(agent.address).expect("a connection");
        half.write_all(b"GET /metr").expect("sent");
        slow.push(half);
        slow.push(send(agent.address, "GET", "/metrics", &[]));
    }
    assert_eq!(agent.get("/healthz").text(), "ok\n");
    assert!(!agent.metrics().samples.is_empty());
    // Whoever says nothing is shown out.
    let mut answer = Vec::new();
    slow[0].read_to_end(&mut answer).expect("an end");
    assert!(agent.metrics().samples.len() > 10);
}
