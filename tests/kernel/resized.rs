//! An upgrade to another size of the table of open connections, while they come and go.

use std::{
    collections::VecDeque,
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use wellhead_tests::{netns, require::say, steps::Steps, workload};

use crate::restart::{Bench, RING, wait_for};

/// Connections that are open while others come and go.
const HELD: usize = 4_000;

/// Of those that come and go, so many at once.
const AT_ONCE: usize = 400;

/// In guests everything here has a real-time priority: what never rests keeps the kernel's own threads, and with them
/// the next agent, from running on its processor.
const REST_AFTER: i64 = 16;
const REST: Duration = Duration::from_micros(100);

/// The workload: connections that come and go beside others that stay, until it is told to stop.
pub(crate) fn churn(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    let held = crate::many_live::pairs(HELD)?;
    let stop = AtomicBool::new(false);
    let opened = thread::scope(|scope| {
        let churner = scope.spawn(|| -> Result<i64> {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let mut recent = VecDeque::new();
            let mut opened = 0;
            while !stop.load(Ordering::Relaxed) {
                let source = TcpStream::connect(listener.local_addr()?)?;
                set_socket_linger(&source, Some(Duration::ZERO))?;
                recent.push_back((listener.accept()?.0, source));
                opened += 1;
                if recent.len() > AT_ONCE {
                    recent.pop_front();
                }
                if opened % REST_AFTER == 0 {
                    thread::sleep(REST);
                }
            }
            Ok(opened)
        });
        let told = steps.say("churning", "").and_then(|()| steps.hear("stop"));
        stop.store(true, Ordering::Relaxed);
        let opened = churner.join().map_err(|_panic| anyhow!("it panicked"))??;
        told.map(|_| opened)
    })?;
    drop(held);
    steps.say("closed", "")?;
    // Their network namespace has to be there for the kernel's own count of them.
    steps.hear("end")?;
    Ok(json!({ "opened": opened }))
}

/// Open connections are copied to a larger map. One that is opened after that and closed by the time the copy is brought up to
/// date ends under programs that do not know it.
pub(crate) fn with_more_connections() -> Result<()> {
    let bench = Bench::new("more")?;
    let steps = Steps::new()?;
    // Nothing is to be lost: it would have the agent look for connections that are gone.
    let ring = 4 * RING;
    let first = bench.agent("new", ring)?.ready()?;
    let running = workload::start(&bench.cgroup, "churn", &[steps.path()?])?;
    steps.hear("churning")?;
    first.kill();
    let second = bench.agent("roomier", ring)?.ready()?;
    steps.say("stop", "")?;
    steps.hear("closed")?;
    let found = wait_for(&second, &[("active", 0)])?;
    steps.say("end", "")?;
    let opened = running.finish()?;
    say(format_args!(
        "  {} connections came and went; ends that nobody told: {}",
        opened["opened"], found["end_missed"]
    ));
    // Not one in ten thousand, and noticed.
    ensure!(found["end_missed"].as_u64() <= Some(3), "{found}");
    Ok(())
}
