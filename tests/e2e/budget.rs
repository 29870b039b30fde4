//! The memory budget holds, however many containers come and go and however many peers there are, and nothing that is counted
//! is lost for it.

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
    let lost = page.sum("wellhead_agent_records_lost_total", &[]);
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
