//! Look-ups of names, counted exactly by how they end, and connections to what was looked up.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::telemetry::{
    catalogue::{Attr, Metric},
    snapshot::Snapshot,
};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    snapshot::{Pair, number, total},
    workload,
};

/// Types of records, and bits of a header (RFC 1035, section 4.1.1).
pub(crate) const A: u16 = 1;
pub(crate) const RESPONSE: u16 = 1 << 15;
const TRUNCATED: u16 = 1 << 9;
pub(crate) const RECURSION: u16 = 1 << 8;

/// How long an answer within the machine may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Look-ups by the first label of the name, which the server answers by: how many, the response code, and what it counts as.
const KINDS: [(&str, usize, u16, &str); 7] = [
    ("fine", 650, 0, ""),
    ("formerr", 50, 1, "formerr"),
    ("servfail", 50, 2, "servfail"),
    ("nxdomain", 50, 3, "nxdomain"),
    ("refused", 50, 5, "refused"),
    ("silent", 100, 0, "timeout"),
    ("large", 50, 0, ""),
];

/// Where a name that is looked up leads to.
const NAMED: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const CONNECTIONS: usize = 3;

/// The workload: a resolver of its own, everything that can be asked of it, and connections to an address it gave.
pub(crate) fn look_ups(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    netns::add_address(NAMED)?;
    serve()?;
    let mut id = 0;
    for (kind, times, _, _) in KINDS {
        for time in 0..times {
            id += 1;
            let query = message(id, RECURSION, (&format!("{kind}.n{time}.test"), A), None);
            look_up(&query, kind != "silent")?;
        }
    }
    let listener = TcpListener::bind((NAMED, 8_080))?;
    for _ in 0..CONNECTIONS {
        let source = TcpStream::connect((NAMED, 8_080))?;
        drop((source, listener.accept()?));
    }
    netns::until_connections_ended()?;
    Ok(json!({}))
}

/// One look-up as programs do them: over UDP, and over TCP where the answer was truncated.
pub(crate) fn look_up(query: &[u8], is_answered: bool) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, 53))?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send(query)?;
    if !is_answered {
        return Ok(());
    }
    let mut answer = [0; 600];
    let length = socket.recv(&mut answer)?;
    ensure!(length > 12 && answer[..2] == query[..2], "no answer");
    if u16::from_be_bytes([answer[2], answer[3]]) & TRUNCATED != 0 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 53))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&framed(query)?)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))])?;
    }
    Ok(())
}

/// A message, its length before it (RFC 1035, section 4.2.2).
fn framed(message: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(message.len())?.to_be_bytes();
    Ok([&length, message].concat())
}

/// A message with one question for a name and a type of records, and an address as the answer if there is one.
pub(crate) fn message(
    id: u16,
    flags: u16,
    (name, kind): (&str, u16),
    answer: Option<Ipv4Addr>,
) -> Vec<u8> {
    let answers = u16::from(answer.is_some());
    let mut bytes = Vec::new();
    for word in [id, flags, 1, answers, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        bytes.extend(u8::try_from(label.len()).ok());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    for word in [kind, 1] {
        bytes.extend(word.to_be_bytes());
    }
    if let Some(address) = answer {
        // The name is that of the question; type, class, a time to live of 60 seconds, and four bytes.
        for word in [0xc00c, A, 1, 0, 60, 4] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(address.octets());
    }
    bytes
}

/// Answers in threads that end with the process.
fn serve() -> Result<()> {
    let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))?;
    let streams = TcpListener::bind((Ipv4Addr::LOCALHOST, 53))?;
    thread::spawn(move || -> Result<()> {
        let mut query = [0; 512];
        loop {
            let (length, from) = datagrams.recv_from(&mut query)?;
            if let Some(answer) = answer(&query[..length], true) {
                datagrams.send_to(&answer, from)?;
            }
        }
    });
    thread::spawn(move || -> Result<()> {
        loop {
            let (mut stream, _) = streams.accept()?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)?;
            if let Some(answer) = answer(&query, false) {
                stream.write_all(&framed(&answer)?)?;
            }
        }
    });
    Ok(())
}

fn answer(query: &[u8], may_truncate: bool) -> Option<Vec<u8>> {
    let (id, labels) = asked(query)?;
    let (kind, _, code, _) = KINDS.iter().find(|(kind, ..)| *kind == labels[0])?;
    let flags = RESPONSE | RECURSION | code;
    let name = labels.join(".");
    let with = |flags, address| Some(message(id, flags, (&name, A), address));
    match *kind {
        "silent" => None,
        "large" if may_truncate => with(flags | TRUNCATED, None),
        "fine" | "large" => with(flags, Some(NAMED)),
        _ => with(flags, None),
    }
}

/// The id of a query, and the labels of the name it asks for.
pub(crate) fn asked(query: &[u8]) -> Option<(u16, Vec<&str>)> {
    let id = u16::from_be_bytes([*query.first()?, *query.get(1)?]);
    let mut labels = Vec::new();
    let mut rest = query.get(12..)?;
    while let [length, after @ ..] = rest
        && *length > 0
    {
        let (label, behind) = after.split_at_checked(usize::from(*length))?;
        labels.push(str::from_utf8(label).ok()?);
        rest = behind;
    }
    Some((id, labels))
}

/// Look-ups that were counted with these attributes.
pub(crate) fn lookups(read: &Snapshot, having: &[Pair<'_>]) -> i64 {
    total(read, Metric::DnsLookupDuration, having)
}

pub(crate) fn look_ups_are_counted() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&["dns.lookup"])?;
    workload::run(&cgroup, "look_ups", &[])?;
    // What was truncated is asked twice.
    let asked: usize = KINDS.iter().map(|(_, times, _, _)| times).sum::<usize>() + 50;
    let read = live.snapshot_when("all look-ups", |read| lookups(read, &[]) >= number(asked))?;
    assert_eq!(lookups(&read, &[]), number(asked));
    for (kind, times, _, error) in KINDS
        .into_iter()
        .filter(|(_, _, _, error)| !error.is_empty())
    {
        let found = lookups(&read, &[(Attr::ErrorType, error)]);
        assert_eq!(found, number(times), "{kind}");
    }
    // The last that was asked for by a name is called by it.
    let opened = |name: &str| {
        let having = [(Attr::DestinationAddress, name), (Attr::Reporter, "source")];
        total(&read, Metric::TcpConnectionsOpened, &having)
    };
    assert_eq!(opened("large.n49.test"), number(CONNECTIONS));
    live.ensure_nothing_lost()?;
    let told = live.told(events)?;
    assert_eq!(told.len(), asked);
    let with = |key: &str, value: &Value| {
        let has = |event: &&Value| event[key] == *value;
        told.iter().filter(has).count()
    };
    assert_eq!(with("wellhead.dns.truncated", &json!(true)), 50);
    assert_eq!(with("wellhead.dns.after_truncation", &json!(true)), 50);
    assert_eq!(with("network.transport", &json!("tcp")), 50);
    assert_eq!(with("dns.answers", &json!([NAMED.to_string()])), 700);
    assert_eq!(with("dns.question.name", &json!("nxdomain.n7.test")), 1);
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let of_server = with("network.peer.address", &json!(server.ip().to_string()));
    assert_eq!(of_server, asked);
    let durations = told
        .iter()
        .filter_map(|event| event["wellhead.duration"].as_u64());
    let longest = durations.max().context("durations")?;
    ensure!(
        u128::from(longest) < Duration::from_secs(5).as_nanos(),
        "{longest} ns"
    );
    Ok(())
}
