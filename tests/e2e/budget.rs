//! The memory budget holds, however many containers come and go and however many peers there are, and nothing that is counted
//! is lost for it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use wellhead_tests::netns;

use crate::support::{Agent, Container, Need, Page, ready, until};

/// How much comes and goes.
struct Churn {
    containers: usize,
    peers: u32,
}

/// Opens a connection to each of so many addresses, one after the other, in a network namespace that has them all.
fn meet(peers: u32) -> u64 {
    netns::isolate().expect("a network namespace");
    let route = ["route", "add", "local", "198.18.0.0/15", "dev", "lo"];
    let added = Command::new("ip").args(route).status().expect("ip runs");
    assert!(added.success());
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let accepting = thread::spawn(move || {
        for _ in 0..peers {
            drop(listener.accept().expect("a connection"));
        }
    });
    for number in 0..peers {
        let peer = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
        let stream = TcpStream::connect(SocketAddr::from((peer, port))).expect("a connection");
        // Its end is a reset, so that no port waits.
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("set");
    }
    accepting.join().expect("all accepted");
    u64::from(peers)
}

fn come_and_go(containers: usize) {
    for _ in 0..containers {
        let container = Container::new();
        container.run(Path::new("/bin/true"));
    }
}

fn kibibytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn opened(page: &Page) -> u64 {
    page.sum("wellhead_tcp_connections_opened_total", &[])
}

fn usage(page: &Page, component: &str) -> u64 {
    let labels = [("wellhead_component", component)];
    page.sum("wellhead_agent_memory_usage_bytes", &labels)
}

fn check(mebibytes: u64, churn: &Churn) {
    let agent = Agent::builder()
        .set("memory_budget", format!("{mebibytes}MiB"))
        .set("peers.addresses", "ip")
        .start();
    let before = opened(&agent.metrics());
    let met = thread::scope(|scope| {
        scope.spawn(|| come_and_go(churn.containers));
        let meeting = scope.spawn(|| meet(churn.peers));
        let met = meeting.join().expect("all met");
        // Readings of everything there is.
        agent.metrics();
        met
    });
    let page = until("every connection to be counted", || {
        let page = agent.metrics();
        // Both ends, and maybe the scrapes'.
        (opened(&page) >= before + 2 * met).then_some(page)
    });
    let most = kibibytes(agent.pid(), "VmHWM:");
    let lost = page.sum(
        "wellhead_agent_discards_total",
        &[("wellhead_stage", "ring")],
    );
    eprintln!(
        "{mebibytes} MiB: at most {most} KiB resident, {} series and {lost} records lost after {met} peers and {} containers",
        page.sum("wellhead_agent_series", &[]),
        churn.containers
    );
    assert!(most < mebibytes << 10, "{most} KiB of {mebibytes} MiB");
    let told = usage(&page, "total");
    assert!(told > 1 << 20 && told <= most << 10, "{told}");
    for component in ["rings", "kernel_maps", "series", "owners", "processes"] {
        assert!(usage(&page, component) > 0, "{component}");
    }
}

/// What the kernel says the agent's maps take, without its rings.
fn kernel_maps(pid: u32) -> u64 {
    let mut maps = BTreeMap::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs") {
        let path = descriptor.expect("listed").path();
        let text = fs::read_to_string(path).unwrap_or_default();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        // `BPF_MAP_TYPE_RINGBUF`
        if number("map_type:").is_some_and(|kind| kind != 27) {
            maps.insert(number("map_id:"), number("memlock:").unwrap_or_default());
        }
    }
    maps.values().sum()
}

#[test]
fn maps_take_what_the_kernel_says() {
    if ready(&[]) {
        let agent = Agent::start();
        let told = kernel_maps(agent.pid());
        assert!(told > 1 << 20, "{told}");
        assert_eq!(usage(&agent.metrics(), "kernel_maps"), told);
    }
}

/// Whoever allows more series than there is memory for gets fewer, and a total of all.
#[test]
fn more_series_than_there_is_memory_for_are_given_up() {
    if !ready(&[Need::Program("ip")]) {
        return;
    }
    let mebibytes = 64;
    let agent = Agent::builder()
        .set("memory_budget", format!("{mebibytes}MiB"))
        .set("series_limit", 1_000_000)
        .set("series_limit_per_metric", 1_000_000)
        .set("series_idle_timeout", "5s")
        .set("peers.addresses", "ip")
        .start();
    // What its start took is over.
    fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5").expect("written");
    let before = opened(&agent.metrics());
    // In a thread, whose network namespace goes with it.
    let met = thread::scope(|scope| scope.spawn(|| meet(8_000)).join());
    let met = met.expect("all met");
    // A page of all series takes long to read.
    until("every connection to be read", || {
        let status = agent.status();
        let ends = |what| {
            status["records"]["tcp_close"][what]
                .as_u64()
                .expect("a count")
        };
        // What is lost is added up.
        (ends("read") + ends("lost") >= 2 * met).then_some(())
    });
    let page = agent.metrics();
    assert!(opened(&page) >= before + 2 * met);
    let most = kibibytes(agent.pid(), "VmHWM:");
    let left_out = |reason| {
        let labels = [("wellhead_reason", reason)];
        page.sum("wellhead_agent_discards_total", &labels)
    };
    eprintln!(
        "at most {most} KiB resident, {} series, {} measurements beyond",
        page.sum("wellhead_agent_series", &[]),
        left_out("series_limit")
    );
    assert!(most < mebibytes << 10, "{most} KiB of {mebibytes} MiB");
    assert!(left_out("series_limit") > 0);
    let log = agent.log();
    let steps = ["trim", "idle", "details", "series"];
    let places = steps.map(|step| log.find(&format!("step=\"{step}\"")));
    assert!(places.is_sorted() && places[0].is_some(), "{log}");
    // Nothing is given up for longer than it has to be.
    until("new series to be made again", || {
        let steps = agent.status()["memory_steps"].as_u64();
        (steps < Some(4)).then_some(())
    });
}

#[test]
fn what_comes_and_goes_stays_within_the_least_usual_budget() {
    if ready(&[Need::Cgroups, Need::Program("ip")]) {
        check(
            64,
            &Churn {
                containers: 50,
                peers: 5_000,
            },
        );
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask test soak"]
fn thousands_come_and_go_within_any_budget() {
    if !ready(&[Need::Cgroups, Need::Program("ip")]) {
        return;
    }
    for mebibytes in [64, 128, 256] {
        check(
            mebibytes,
            &Churn {
                containers: 1_000,
                peers: 100_000,
            },
        );
    }
}
