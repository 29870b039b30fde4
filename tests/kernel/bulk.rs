//! Bulk over TCP, and which programs run for it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use wellhead::kernel::{Feature, Probes};
use wellhead_tests::{
    capture::settings, cgroup::CgroupGuard, netns, require, require::say, steps::Steps, workload,
};

use crate::tcp_health;

const GIBIBYTE: usize = 1 << 30;
/// Others on the machine open connections as well: only a round in which none did shows what the transfer alone takes.
const ROUNDS: usize = 20;

/// How much is sent in a round: an emulated machine is slow.
fn amount() -> usize {
    if require::is_bare() {
        GIBIBYTE / 8
    } else {
        GIBIBYTE
    }
}

/// The workload: sends so much over one connection whenever it is asked to.
pub(crate) fn transfer(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut source = TcpStream::connect(listener.local_addr()?)?;
    let (mut destination, _) = listener.accept()?;
    let reading = thread::spawn(move || -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let mut left = amount();
            while left > 0 {
                match destination.read(&mut buffer)? {
                    0 => return Ok(()),
                    read => left = left.saturating_sub(read),
                }
            }
            // All of it has arrived.
            destination.write_all(b"!")?;
        }
    });
    let piece = vec![b'b'; 1 << 20];
    steps.say("open", &sent_again()?.to_string())?;
    while steps.hear("go")? == "on" {
        for _ in 0..amount() / piece.len() {
            source.write_all(&piece)?;
        }
        source.read_exact(&mut [0])?;
        steps.say("sent", &sent_again()?.to_string())?;
    }
    source.shutdown(Shutdown::Write)?;
    let result = reading.join();
    result.map_err(|_panic| anyhow::anyhow!("it panicked"))??;
    Ok(json!({}))
}

/// Segments that the kernel had to send again in this network namespace, which a machine that stands still for a moment makes it do.
fn sent_again() -> Result<i64> {
    let counters = tcp_health::kernel_counters()?;
    counters.get("RetransSegs").copied().context("RetransSegs")
}

pub(crate) fn runs_no_program_for_tcp() -> Result<()> {
    let fewest = fewest_runs(&[Feature::Tcp, Feature::Process])?;
    say(format_args!("of tcp and process: {fewest:?}"));
    ensure!(
        fewest
            .iter()
            .all(|(program, _)| *program != EGRESS && *program != "kfree_skb"),
        "a program sees packets"
    );
    let all: u64 = fewest.iter().map(|(_, runs)| runs).sum();
    ensure!(all == 0, "{all} runs in every round");
    // That it would be seen.
    let fewest = fewest_runs(&[Feature::Udp])?;
    say(format_args!("of udp: {fewest:?}"));
    let egress = fewest.iter().find(|(program, _)| *program == EGRESS);
    let (_, packets) = egress.context("a program that sees packets")?;
    // No packet is longer than that.
    let least = u64::try_from(amount() / (512 << 10))?;
    ensure!(*packets >= least, "{packets} packets of {least}");
    Ok(())
}

const EGRESS: &str = "packet_egress";

/// How often each program of these features ran during a transfer, in the round with the fewest runs.
fn fewest_runs(features: &[Feature]) -> Result<Vec<(&'static str, u64)>> {
    let cgroup = CgroupGuard::new()?;
    let mut settings = settings(None);
    settings.features = features.to_vec();
    let mut probes = Probes::attach(&settings)?;
    probes.programs.measure_run_time()?;
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "transfer", &[steps.path()?])?;
    let mut sent_again: u64 = steps.hear("open")?.parse()?;
    let mut fewest: Option<Vec<(&'static str, u64)>> = None;
    let sum = |runs: &[(&str, u64)]| runs.iter().map(|(_, runs)| runs).sum::<u64>();
    for _ in 0..ROUNDS {
        let before = probes.programs.stats();
        steps.say("go", "on")?;
        let now: u64 = steps.hear("sent")?.parse()?;
        let after = probes.programs.stats();
        // For those a program does run.
        let again = now - std::mem::replace(&mut sent_again, now);
        let runs: Vec<_> = before
            .iter()
            .zip(after)
            .map(|(before, after)| {
                let runs = after.runs - before.runs;
                let expected = if after.program == "tcp_retransmit_skb" {
                    again
                } else {
                    0
                };
                (after.program, runs.saturating_sub(expected))
            })
            .collect();
        if fewest
            .as_ref()
            .is_none_or(|fewest| sum(&runs) < sum(fewest))
        {
            fewest = Some(runs);
        }
        // Where each packet is seen, one round is like another.
        if features == [Feature::Udp] || fewest.as_ref().is_some_and(|fewest| sum(fewest) == 0) {
            break;
        }
    }
    steps.say("go", "no more")?;
    running.finish()?;
    match fewest {
        Some(fewest) => Ok(fewest),
        None => bail!("there was no round"),
    }
}
