//! What holds connections up, by the kernel's own counters: segments lost and sent again, resets, windows, queues.

use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{SocketFlags, bind, connect, getsockname, listen, sockopt};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns, require,
    snapshot::{self, total},
    steps::Steps,
    workload,
};

use crate::failures::tcp_socket;

/// Connections of the lossy workload, and what each carries.
const LOSSY: usize = 60;
const EACH: usize = 200_000;

/// The workload: each segment, of the handshake too, is lost with a probability of one in twenty, on its way to either end.
pub(crate) fn lossy(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    lose_segments(&listener)?;
    let address = listener.local_addr()?;
    let serving = thread::spawn(move || {
        (0..LOSSY).try_for_each(|_| -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            std::io::copy(&mut stream, &mut std::io::sink())?;
            stream.write_all(&[b'd'; 1_000])?;
            Ok(())
        })
    });
    for _ in 0..LOSSY {
        let mut stream = lossy_connection(address)?;
        stream.write_all(&vec![b'u'; EACH])?;
        stream.shutdown(Shutdown::Write)?;
        std::io::copy(&mut stream, &mut std::io::sink())?;
    }
    let served = serving
        .join()
        .map_err(|_panic| anyhow::anyhow!("it panicked"))?;
    served.context("serve")?;
    netns::until_connections_ended()?;
    Ok(json!(kernel_counters()?))
}

fn lossy_connection(to: SocketAddr) -> Result<TcpStream> {
    let socket = tcp_socket(SocketFlags::empty())?;
    lose_segments(&socket)?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Has the kernel drop one in twenty of the segments that arrive at a socket, and at those that it accepts.
fn lose_segments(socket: &impl std::os::fd::AsRawFd) -> Result<()> {
    // `SKF_AD_OFF + SKF_AD_RANDOM` of include/uapi/linux/filter.h.
    const RANDOM: u32 = 0xffff_f000 + 56;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut code = [
        // `BPF_LD | BPF_W | BPF_ABS`: a random number.
        instruction(0x20, 0, 0, RANDOM),
        // `BPF_JMP | BPF_JGE | BPF_K`: of small ones keep nothing, of others all.
        instruction(0x35, 1, 0, u32::MAX / 20),
        instruction(0x06, 0, 0, 0),
        instruction(0x06, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(code.len())?,
        filter: code.as_mut_ptr(),
    };
    let length = libc::socklen_t::try_from(size_of_val(&program))?;
    // SAFETY: program and instructions outlive the call, which copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length,
        )
    };
    ensure!(result == 0, "filter: {}", std::io::Error::last_os_error());
    Ok(())
}

/// The kernel's counters of this network namespace, as `nstat` shows them.
pub(crate) fn kernel_counters() -> Result<HashMap<String, i64>> {
    let mut counters = HashMap::new();
    for file in ["snmp", "netstat"] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let names = pair[0].split_whitespace();
            for (name, value) in names.zip(pair[1].split_whitespace()).skip(1) {
                // Of protocols that share a name the first: UDP before UDP-Lite.
                let value = value.parse().unwrap_or_default();
                counters.entry(name.to_owned()).or_insert(value);
            }
        }
    }
    Ok(counters)
}

fn of_reason(snapshot: &Snapshot, reason: &str) -> i64 {
    let having = [(Attr::TcpRetransmitReason, reason)];
    total(snapshot, Metric::TcpRetransmits, &having)
}

pub(crate) fn retransmits_are_the_kernels() -> Result<()> {
    let seen = check_retransmits("lossy", LOSSY)?;
    assert!(seen.handshakes > 0 && seen.fast > 0, "{seen:?}");
    assert!(seen.late > 0, "{seen:?}");
    Ok(())
}

/// Segments sent again.
#[derive(Debug)]
pub(crate) struct SentAgain {
    handshakes: i64,
    pub(crate) fast: i64,
    /// After a time-out, or as a probe before one.
    late: i64,
}

/// Compares what is told of a workload's connections, so many, with the kernel's counters, which it says.
pub(crate) fn check_retransmits(workload: &str, connections: usize) -> Result<SentAgain> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(50);
    })?;
    let said = workload::run(&cgroup, workload, &[])?;
    let kernel = |name: &str| said[name].as_i64().with_context(|| name.to_owned());
    let ends = snapshot::number(2 * connections);
    let read = live.snapshot_when("both ends of all", |snapshot| {
        total(snapshot, Metric::TcpConnectionsClosed, &[]) >= ends
    })?;
    let all = total(&read, Metric::TcpRetransmits, &[]);
    assert_eq!(all, kernel("RetransSegs")?, "all");
    assert_eq!(of_reason(&read, "_OTHER"), 0, "of unknown reason");
    let handshakes = of_reason(&read, "handshake");
    assert_eq!(handshakes, kernel("TCPSynRetrans")?, "SYN and SYN-ACK");
    let fast = kernel("TCPFastRetrans")? + kernel("TCPSlowStartRetrans")?;
    assert_eq!(of_reason(&read, "fast"), fast, "after acknowledgements");
    // A probe may send what is new instead.
    let probes = of_reason(&read, "tail_loss_probe");
    assert!(probes <= kernel("TCPLossProbes")?, "{probes} probes");
    // The timer of a SYN counts as one, too.
    let timeouts = of_reason(&read, "timeout");
    assert!(timeouts <= kernel("TCPTimeouts")?, "{timeouts} timeouts");
    let out_of_order = total(&read, Metric::TcpOutOfOrder, &[]);
    // Segments that arrive as one buffer are one to the kernel's counter.
    assert!(out_of_order >= kernel("TCPOFOQueue")?, "{out_of_order}");
    live.ensure_nothing_lost()?;
    Ok(SentAgain {
        handshakes,
        fast,
        late: timeouts + probes,
    })
}

/// The workload: five connections that the client resets, three that the server does.
pub(crate) fn resets_both_ways(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let pair = || -> Result<(TcpStream, TcpStream)> {
        let source = TcpStream::connect(listener.local_addr()?)?;
        Ok((source, listener.accept()?.0))
    };
    for _ in 0..5 {
        let (source, mut destination) = pair()?;
        sockopt::set_socket_linger(&source, Some(Duration::ZERO))?;
        drop(source);
        expect_reset(&mut destination)?;
    }
    for _ in 0..3 {
        let (mut source, destination) = pair()?;
        source.write_all(b"never read")?;
        while destination.peek(&mut [0])? == 0 {}
        drop(destination);
        expect_reset(&mut source)?;
    }
    netns::until_connections_ended()?;
    Ok(json!(kernel_counters()?))
}

fn expect_reset(stream: &mut TcpStream) -> Result<()> {
    let error = stream.read(&mut [0]).map_err(|error| error.kind());
    ensure!(error == Err(ErrorKind::ConnectionReset), "{error:?}");
    Ok(())
}

pub(crate) fn resets_are_told_by_both_ends() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&["tcp.close"])?;
    let said = workload::run(&cgroup, "resets_both_ways", &[])?;
    let read = live.snapshot_when("all resets", |snapshot| {
        total(snapshot, Metric::TcpResets, &[]) >= 16
    })?;
    for (reporter, direction, expected) in [
        ("source", "transmit", 5),
        ("destination", "receive", 5),
        ("destination", "transmit", 3),
        ("source", "receive", 3),
    ] {
        let having = [
            (Attr::Reporter, reporter),
            (Attr::NetworkIoDirection, direction),
        ];
        let found = total(&read, Metric::TcpResets, &having);
        assert_eq!(found, expected, "{reporter} {direction}");
    }
    assert_eq!(total(&read, Metric::TcpResets, &[]), 16);
    assert_eq!(said["OutRsts"], 8, "of the kernel");
    assert_eq!(said["EstabResets"], 16, "of the kernel");
    live.ensure_nothing_lost()?;
    let told = live.told(events)?;
    let reset = told.iter().filter(|event| {
        event["error.type"] == "connection_reset" && event["wellhead.tcp.verdict"] == "peer"
    });
    assert_eq!(reset.count(), 8, "those that were reset by their peers");
    Ok(())
}

/// What a listener's queue holds at most, as it is asked for.
const BACKLOG: i32 = 4;
const CALLERS: usize = 9;

/// The workload: nobody accepts.
pub(crate) fn full_queue(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    let listener = tcp_socket(SocketFlags::NONBLOCK)?;
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    listen(&listener, BACKLOG)?;
    let address = SocketAddr::try_from(getsockname(&listener)?)?;
    steps.say("listening", "")?;
    steps.hear("call")?;
    let callers: Vec<OwnedFd> = (0..CALLERS)
        .map(|_| {
            let caller = tcp_socket(SocketFlags::NONBLOCK)?;
            // Under way, or established.
            connect(&caller, &address).map_or_else(|_under_way| (), |()| ());
            Ok(caller)
        })
        .collect::<Result<_>>()?;
    // Long enough for each that got no answer to ask again.
    thread::sleep(Duration::from_millis(1_500));
    // One more fits than is asked for (`sk_acceptq_is_full`, include/net/sock.h). The others give up.
    let waiting = usize::try_from(BACKLOG)? + 1;
    drop(callers.into_iter().skip(waiting).collect::<Vec<_>>());
    let mut said = json!({ "port": address.port(), "counters": kernel_counters()? });
    if arguments.iter().any(|argument| argument == SS) {
        said[SS] = listeners_of_ss()?.into();
    }
    steps.say("full", &said.to_string())?;
    steps.hear("end")?;
    Ok(json!({}))
}

/// The program that administrators look at queues with.
const SS: &str = "ss";

/// What it says of the calling thread's network namespace, a listener a line: state, queue, its limit, addresses.
fn listeners_of_ss() -> Result<String> {
    let output = Command::new(SS)
        .args(["--no-header", "--listening", "--tcp", "--numeric"])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn queues_are_told() -> Result<()> {
    let has_ss = require::program("health_queues_are_told", SS)?;
    let cgroup = CgroupGuard::new()?;
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(100);
    })?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_str().context("a path")?;
    let steps = Steps::at(path);
    let with = if has_ss { SS } else { "" };
    let running = workload::start(&cgroup, "full_queue", &[path, with])?;
    steps.hear("listening")?;
    let is_told = |length: i64, limit: i64| {
        move |snapshot: &Snapshot| {
            total(snapshot, Metric::TcpListenQueueLength, &[]) == length
                && total(snapshot, Metric::TcpListenQueueLimit, &[]) == limit
        }
    };
    live.snapshot_when("an empty queue", is_told(0, i64::from(BACKLOG)))?;
    steps.say("call", "")?;
    let said: Value = serde_json::from_str(&steps.hear("full")?)?;
    let limit = i64::from(BACKLOG);
    live.snapshot_when("a full queue", is_told(limit + 1, limit))?;
    if let Some(told) = said[SS].as_str() {
        let words: Vec<&str> = told.split_whitespace().collect();
        let queue = [(limit + 1).to_string(), limit.to_string()];
        ensure!(words.len() >= 4 && words[1..3] == queue, "{told:?}");
    }
    let dropped = said["counters"]["ListenDrops"].as_i64().context("drops")?;
    let overflown = said["counters"]["ListenOverflows"]
        .as_i64()
        .context("overflows")?;
    ensure!(
        dropped == overflown && dropped >= 4,
        "{dropped} of {overflown}"
    );
    let port = said["port"].to_string();
    let having = [(Attr::ServerPort, port.as_str())];
    let read = live.snapshot_when("what did not fit", |snapshot| {
        total(snapshot, Metric::TcpListenOverflows, &having) >= dropped
    })?;
    assert_eq!(total(&read, Metric::TcpListenOverflows, &having), dropped);
    steps.say("end", "")?;
    running.finish()?;
    Ok(())
}

/// The workload: a receiver that reads late. What the kernel says of its sender (`struct tcp_info`, include/uapi/linux/tcp.h), in
/// microseconds.
pub(crate) fn held_up(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut source = TcpStream::connect(listener.local_addr()?)?;
    let (mut destination, _) = listener.accept()?;
    let reading = thread::spawn(move || {
        thread::sleep(Duration::from_millis(700));
        let read = std::io::copy(&mut destination, &mut std::io::sink());
        (read, destination)
    });
    // More than all buffers together.
    source.write_all(&vec![b'u'; 20 << 20])?;
    source.shutdown(Shutdown::Write)?;
    let read = reading.join();
    let (read, destination) = read.map_err(|_panic| anyhow::anyhow!("it panicked"))?;
    ensure!(read? == 20 << 20, "not all was read");
    // Once the FIN is acknowledged nothing waits any more.
    let info = loop {
        let info = tcp_info(&source)?;
        if info["state"] == FIN_WAIT2 {
            break info;
        }
        thread::sleep(Duration::from_millis(1));
    };
    drop((source, destination));
    netns::until_connections_ended()?;
    Ok(info)
}

/// State of `include/net/tcp_states.h`.
const FIN_WAIT2: u8 = 5;

pub(crate) fn tcp_info(stream: &TcpStream) -> Result<Value> {
    let mut info = [0_u8; 192];
    let mut length = libc::socklen_t::try_from(info.len())?;
    // SAFETY: the buffer is as long as said and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    ensure!(result == 0, "TCP_INFO: {}", std::io::Error::last_os_error());
    ensure!(length == 192, "TCP_INFO has {length} bytes");
    let narrow =
        |at: usize| -> Result<u32> { Ok(u32::from_ne_bytes(info[at..at + 4].try_into()?)) };
    let wide = |at: usize| -> Result<u64> { Ok(u64::from_ne_bytes(info[at..at + 8].try_into()?)) };
    Ok(json!({
        "state": info[0],
        "rtt": narrow(68)?,
        "min_rtt": narrow(148)?,
        "busy": wide(168)?,
        "receive_window": wide(176)?,
        "send_buffer": wide(184)?,
    }))
}

pub(crate) fn limits_are_the_kernels() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(100);
    })?;
    let said = workload::run(&cgroup, "held_up", &[])?;
    let read = live.snapshot_when("both ends", |snapshot| {
        total(snapshot, Metric::TcpConnectionsClosed, &[]) >= 2
    })?;
    let told = |limit: &str| {
        let having = [(Attr::TcpLimit, limit), (Attr::Reporter, "source")];
        snapshot::seconds(&read, Metric::TcpLimited, &having)
    };
    let kernel = |name: &str| -> Result<f64> {
        let microseconds = said[name].as_f64().context("a number")?;
        Ok(microseconds / 1e6)
    };
    let told = ["busy", "receive_window", "send_buffer"].map(told);
    let window = kernel("receive_window")?;
    let buffer = kernel("send_buffer")?;
    // Its sum has the others in it (`tcp_get_info_chrono_stats`, net/ipv4/tcp.c).
    let expected = [kernel("busy")? - window - buffer, window, buffer];
    for (told, expected) in told.into_iter().zip(expected) {
        // A millisecond is rounded off with every snapshot and at the end.
        assert!((told - expected).abs() < 0.03, "{told} s for {expected} s");
    }
    ensure!(window > 0.3, "the window did not hold it up");
    let of_source = [(Attr::Reporter, "source")];
    let samples = |metric| total(&read, metric, &of_source);
    assert_eq!(samples(Metric::TcpRtt), samples(Metric::TcpRttMin));
    live.ensure_nothing_lost()
}
