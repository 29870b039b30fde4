//! Many connections through the whole pipeline, and attempts nobody answers.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns, snapshot, workload,
};

const CONNECTIONS: i64 = 500;
const REFUSED: i64 = 100;
const UP: u8 = 100;
const DOWN: u8 = 200;

/// Where to listen and where to connect to.
fn addresses(kind: &str) -> Result<(IpAddr, IpAddr)> {
    let (listen, connect) = match kind {
        "ipv4" => ("127.0.0.1", "127.0.0.1"),
        "ipv6" => ("::1", "::1"),
        "mapped" => ("::", "::ffff:127.0.0.1"),
        other => anyhow::bail!("no addresses for {other}"),
    };
    Ok((listen.parse()?, connect.parse()?))
}

pub(crate) fn many(arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let (listen, connect) = addresses(arguments.first().context("which?")?)?;
    let listener = TcpListener::bind((listen, 0))?;
    let port = listener.local_addr()?.port();
    let closed = TcpListener::bind((listen, 0))?.local_addr()?.port();
    let server = thread::spawn(move || serve(&listener));
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect((connect, port))?;
        stream.write_all(&[b'u'; UP as usize])?;
        stream.read_exact(&mut [0; DOWN as usize])?;
    }
    for _ in 0..REFUSED {
        let refused = TcpStream::connect((connect, closed)).map(drop);
        let kind = refused.map_err(|error| error.kind());
        ensure!(
            kind == Err(std::io::ErrorKind::ConnectionRefused),
            "{kind:?}"
        );
    }
    let done = server.join();
    done.map_err(|_panic| anyhow::anyhow!("the server panicked"))??;
    Ok(json!({ "port": port, "closed": closed }))
}

fn serve(listener: &TcpListener) -> Result<()> {
    for _ in 0..CONNECTIONS {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut [0; UP as usize])?;
        stream.write_all(&[b'd'; DOWN as usize])?;
        ensure!(stream.read(&mut [0])? == 0, "more than was sent");
    }
    Ok(())
}

pub(crate) fn are_counted(kind: &str) -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let said = workload::run(&cgroup, "connections", &[kind])?;
    let read = live.snapshot_when("all ends", |snapshot| {
        snapshot::total(snapshot, Metric::TcpConnectionsClosed, &[]) >= 2 * CONNECTIONS
            && snapshot::total(snapshot, Metric::TcpConnectionFailures, &[]) >= REFUSED
    })?;

    let (port, closed) = (said["port"].to_string(), said["closed"].to_string());
    let source = [(Attr::Reporter, "source"), (Attr::DestinationPort, &port)];
    let destination = [
        (Attr::Reporter, "destination"),
        (Attr::DestinationPort, &port),
    ];
    let check = |metric, having: &[_], expected| {
        let found = snapshot::total(&read, metric, having);
        assert_eq!(found, expected, "{metric:?} {having:?}");
    };
    for reporter in [&source, &destination] {
        check(Metric::TcpConnectionsOpened, reporter, CONNECTIONS);
        check(Metric::TcpConnectionsClosed, reporter, CONNECTIONS);
        check(Metric::TcpConnectionsActive, reporter, 0);
        check(Metric::TcpConnectionDuration, reporter, CONNECTIONS);
    }
    check(Metric::TcpConnectDuration, &source, CONNECTIONS);
    check(Metric::TcpConnectDuration, &[], CONNECTIONS);
    check(Metric::TcpConnectionsOpened, &[], 2 * CONNECTIONS);
    check(Metric::TcpConnectionsClosed, &[], 2 * CONNECTIONS);
    let (up, down) = (CONNECTIONS * i64::from(UP), CONNECTIONS * i64::from(DOWN));
    for (reporter, sent, received) in [(source, up, down), (destination, down, up)] {
        let transmit = [
            reporter[0],
            reporter[1],
            (Attr::NetworkIoDirection, "transmit"),
        ];
        let receive = [
            reporter[0],
            reporter[1],
            (Attr::NetworkIoDirection, "receive"),
        ];
        check(Metric::TcpIo, &transmit, sent);
        check(Metric::TcpIo, &receive, received);
    }
    check(Metric::TcpIo, &[], 2 * (up + down));
    let refused = [
        (Attr::Reporter, "source"),
        (Attr::DestinationPort, &closed),
        (Attr::ErrorType, "connection_refused"),
    ];
    check(Metric::TcpConnectionFailures, &refused, REFUSED);
    check(Metric::TcpConnectionFailures, &[], REFUSED);
    live.ensure_nothing_lost()
}

/// Connections to a server of its own, one after another.
pub(crate) struct Exchange(TcpListener);

impl Exchange {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(TcpListener::bind("127.0.0.1:0")?))
    }

    /// Opens one, sends both ways, and closes it from the side that connected.
    pub(crate) fn one(&mut self, up: &[u8], down: &[u8]) -> Result<()> {
        let mut source = TcpStream::connect(self.0.local_addr()?)?;
        let (mut destination, _) = self.0.accept()?;
        source.write_all(up)?;
        destination.read_exact(&mut vec![0; up.len()])?;
        destination.write_all(down)?;
        source.read_exact(&mut vec![0; down.len()])?;
        drop(source);
        ensure!(destination.read(&mut [0])? == 0, "more than was sent");
        Ok(())
    }
}
