//! A way that takes its time: 25 ms in either direction, and one in twenty segments lost.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns, require,
    snapshot::{self, number, total},
    workload,
};

use crate::{
    paths::{self, SERVER, Way, at_server, between_pods},
    tcp_health::{self, kernel_counters, tcp_info},
};

const PORT: u16 = 8_080;
const DELAYED: usize = 20;
/// Questions and answers on each connection.
const ROUNDS: usize = 10;

const LOSSY: usize = 12;
const EACH: usize = 100_000;

const DELAY: &str = "tc qdisc add dev wh-$1 root netem delay 25ms";
const LOSS: &str = "
table inet wh {
    chain in {
        type filter hook input priority 0
        meta l4proto tcp numgen random mod 20 0 drop
    }
}";

/// What the kernel says of each connection, and how long `connect` took, in seconds.
#[derive(Default)]
struct Seen {
    connect: f64,
    rtt: f64,
    min_rtt: f64,
}

/// The workload: connections over which something is asked and answered.
pub(crate) fn far_away(_arguments: &[String]) -> Result<Value> {
    let way = Way {
        commands: DELAY,
        ..Way::default()
    };
    let ask = || {
        let mut seen = Seen::default();
        for _ in 0..DELAYED {
            let start = Instant::now();
            let mut stream = TcpStream::connect(at_server(SERVER[0], PORT)?)?;
            seen.connect += start.elapsed().as_secs_f64();
            stream.set_nodelay(true)?;
            for _ in 0..ROUNDS {
                stream.write_all(b"?")?;
                stream.read_exact(&mut [0])?;
            }
            let info = tcp_info(&stream)?;
            let seconds =
                |name: &str| -> Result<f64> { Ok(info[name].as_f64().context("a number")? / 1e6) };
            seen.rtt += seconds("rtt")?;
            seen.min_rtt += seconds("min_rtt")?;
        }
        netns::until_connections_ended()?;
        Ok(seen)
    };
    let [seen, _] = between_pods(way, ask, || {
        let listener = TcpListener::bind((SERVER[0], PORT))?;
        let serving = thread::spawn(move || -> Result<()> {
            for _ in 0..DELAYED {
                let (mut stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let mut question = [0];
                while stream.read(&mut question)? > 0 {
                    stream.write_all(&question)?;
                }
            }
            Ok(())
        });
        Ok(Box::new(move || {
            join(serving)?;
            netns::until_connections_ended()?;
            Ok(Seen::default())
        }))
    })?;
    Ok(json!({ "connect": seen.connect, "rtt": seen.rtt, "min_rtt": seen.min_rtt }))
}

/// The workload: uploads over the same way, on which segments get lost in either pod.
pub(crate) fn far_and_lossy(_arguments: &[String]) -> Result<Value> {
    let way = Way {
        commands: DELAY,
        client: LOSS,
        server: LOSS,
        ..Way::default()
    };
    let ask = || {
        let uploads: Vec<_> = (0..LOSSY).map(|_| thread::spawn(upload)).collect();
        uploads.into_iter().try_for_each(join)?;
        netns::until_connections_ended()?;
        kernel_counters()
    };
    let [client, server] = between_pods(way, ask, || {
        let listener = TcpListener::bind((SERVER[0], PORT))?;
        let serving = thread::spawn(move || -> Result<()> {
            let downloads: Vec<_> = (0..LOSSY)
                .map(|_| {
                    let (mut stream, _) = listener.accept()?;
                    Ok(thread::spawn(move || -> Result<()> {
                        std::io::copy(&mut stream, &mut std::io::sink())?;
                        Ok(stream.write_all(&[b'd'; 1_000])?)
                    }))
                })
                .collect::<Result<_>>()?;
            downloads.into_iter().try_for_each(join)
        });
        Ok(Box::new(move || {
            join(serving)?;
            netns::until_connections_ended()?;
            kernel_counters()
        }))
    })?;
    let both: HashMap<String, i64> = client
        .into_iter()
        .map(|(name, count)| {
            let other = server.get(&name).copied().unwrap_or_default();
            (name, count + other)
        })
        .collect();
    Ok(json!(both))
}

fn upload() -> Result<()> {
    let mut stream = TcpStream::connect(at_server(SERVER[0], PORT)?)?;
    stream.write_all(&vec![b'u'; EACH])?;
    stream.shutdown(Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

fn join(running: thread::JoinHandle<Result<()>>) -> Result<()> {
    let result = running.join();
    result.map_err(|_panic| anyhow::anyhow!("it panicked"))?
}

/// Whether packets can be delayed here. Guests have the module for it.
fn can_delay(test: &str) -> Result<bool> {
    if !paths::programs_are_there(test, &["ip", "tc", "nft"])? {
        return Ok(false);
    }
    let tried = thread::spawn(|| {
        netns::isolate()?;
        paths::commands("tc qdisc add dev lo root netem delay 1ms", &[])
    });
    let result = join(tried);
    if require::is_bare() {
        result?;
    } else if let Err(error) = result {
        require::say(format_args!(
            "{test} is left out, as nothing delays packets here: {error}"
        ));
        return Ok(false);
    }
    Ok(true)
}

pub(crate) fn are_the_kernels() -> Result<()> {
    if !can_delay("delays_are_the_kernels")? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let said = workload::run(&cgroup, "far_away", &[])?;
    let ends = number(2 * DELAYED);
    let read = live.snapshot_when("both ends of all", |snapshot| {
        total(snapshot, Metric::TcpConnectionsClosed, &[]) >= ends
    })?;
    for (metric, name) in [
        (Metric::TcpConnectDuration, "connect"),
        (Metric::TcpRtt, "rtt"),
        (Metric::TcpRttMin, "min_rtt"),
    ] {
        let of_source = [(Attr::Reporter, "source")];
        let samples = total(&read, metric, &of_source);
        ensure!(samples >= number(DELAYED), "{name}: {samples} samples");
        let count = f64::from(i32::try_from(samples)?);
        let mean = snapshot::seconds(&read, metric, &of_source) / count;
        let all = said[name].as_f64().context("a number")?;
        let expected = all / f64::from(u32::try_from(DELAYED)?);
        ensure!(
            expected > 0.045,
            "{name}: nothing was delayed: {expected} s"
        );
        let ratio = mean / expected;
        ensure!(
            (0.9..1.1).contains(&ratio),
            "{name}: {mean} s for {expected} s"
        );
    }
    live.ensure_nothing_lost()
}

pub(crate) fn retransmits_are_the_kernels() -> Result<()> {
    if !can_delay("delays_and_losses_are_the_kernels")? {
        return Ok(());
    }
    let seen = tcp_health::check_retransmits("far_and_lossy", LOSSY)?;
    ensure!(seen.fast > 0, "nothing was lost: {seen:?}");
    Ok(())
}
