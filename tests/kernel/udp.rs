//! Datagrams, counted exactly, and packets the kernel drops.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use serde_json::{Value, json};
use wellhead::counters::Discard;
use wellhead::kernel::ProbeSettings;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    snapshot::{self, number, points, total},
    workload,
};

use crate::{icmp::checksum, tcp_health::kernel_counters};

const ROUNDS: usize = 5_000;
const ASKED: usize = 100;
const ANSWERED: usize = 50;
/// A port that is bound to, as servers do.
const PORT: u16 = 7_000;
/// A send in segments: five whole ones and the rest.
const SEGMENT: usize = 1_000;
const IN_SEGMENTS: usize = 5 * SEGMENT + 28;

/// The workload: questions and answers over each kind of address, of connected and of other sockets, and one send in segments.
pub(crate) fn datagrams(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let server = UdpSocket::bind((address, PORT))?;
        let client = UdpSocket::bind((address, 0))?;
        client.connect((address, PORT))?;
        ask(&server, ROUNDS, |question, answer| {
            client.send(question)?;
            Ok(client.recv(answer)?)
        })?;
        // The same without a connection.
        let client = UdpSocket::bind((address, 0))?;
        ask(&server, ROUNDS, |question, answer| {
            client.send_to(question, (address, PORT))?;
            Ok(client.recv_from(answer)?.0)
        })?;
    }
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.connect((Ipv4Addr::LOCALHOST, PORT))?;
    send_in_segments(&client)?;
    let mut arrived = 0;
    while arrived < IN_SEGMENTS {
        arrived += server.recv(&mut [0; 2_000])?;
    }
    Ok(json!(kernel_counters()?))
}

/// Asks so often, one question at a time, so that no buffer overflows.
fn ask(
    server: &UdpSocket,
    rounds: usize,
    exchange: impl Fn(&[u8], &mut [u8]) -> Result<usize> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let serving = scope.spawn(|| -> Result<()> {
            let mut question = [0; 2 * ASKED];
            for _ in 0..rounds {
                let (length, from) = server.recv_from(&mut question)?;
                ensure!(length == ASKED, "{length} bytes asked");
                server.send_to(&[b'a'; ANSWERED], from)?;
            }
            Ok(())
        });
        for _ in 0..rounds {
            let length = exchange(&[b'q'; ASKED], &mut [0; 2 * ANSWERED])?;
            ensure!(length == ANSWERED, "{length} bytes answered");
        }
        serving
            .join()
            .map_err(|_panic| anyhow::anyhow!("the server panicked"))?
    })
}

fn send_in_segments(socket: &UdpSocket) -> Result<()> {
    let size = libc::c_int::try_from(SEGMENT)?;
    let length = libc::socklen_t::try_from(size_of_val(&size))?;
    // SAFETY: the number outlives the call (`UDP_SEGMENT`, udp(7)).
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            length,
        )
    };
    ensure!(
        result == 0,
        "UDP_SEGMENT: {}",
        std::io::Error::last_os_error()
    );
    let sent = socket.send(&[b's'; IN_SEGMENTS])?;
    ensure!(sent == IN_SEGMENTS, "{sent} bytes sent");
    Ok(())
}

fn by(reporter: &'static str, direction: &'static str) -> [(Attr, &'static str); 3] {
    [
        (Attr::DestinationPort, "7000"),
        (Attr::NetworkIoDirection, direction),
        (Attr::Reporter, reporter),
    ]
}

fn quick(cgroup: Option<u64>) -> Result<Live> {
    Live::start_with(settings(cgroup), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(100);
    })
}

pub(crate) fn datagrams_are_counted() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = quick(Some(cgroup.id()))?;
    let said = workload::run(&cgroup, "datagrams", &[])?;
    let exchanged = number(4 * ROUNDS);
    let segments = 6;
    let read = live.snapshot_when("all datagrams", |snapshot| {
        total(snapshot, Metric::UdpDatagrams, &[]) >= 4 * exchanged + 2 * segments
    })?;
    let bytes_asked = exchanged * number(ASKED) + number(IN_SEGMENTS);
    let bytes_answered = exchanged * number(ANSWERED);
    for (reporter, direction, datagrams, bytes) in [
        ("source", "transmit", exchanged + segments, bytes_asked),
        ("source", "receive", exchanged, bytes_answered),
        ("destination", "receive", exchanged + segments, bytes_asked),
        ("destination", "transmit", exchanged, bytes_answered),
    ] {
        let having = by(reporter, direction);
        let found = total(&read, Metric::UdpDatagrams, &having);
        assert_eq!(found, datagrams, "datagrams: {reporter} {direction}");
        let found = total(&read, Metric::UdpIo, &having);
        assert_eq!(found, bytes, "bytes: {reporter} {direction}");
    }
    let all = total(&read, Metric::UdpDatagrams, &[]);
    assert_eq!(all, 4 * exchanged + 2 * segments, "of other flows");
    assert_eq!(said["RcvbufErrors"], 0, "of the kernel");
    live.ensure_nothing_lost()
}

/// More peers than there is room for.
const PEERS: usize = 300;
const ROOM: u32 = 64;

/// The workload: datagrams for many addresses, where somebody takes in whatever is of UDP beside the one that they are for.
pub(crate) fn many_peers(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let (domain, kind) = (AddressFamily::INET, SocketType::RAW);
    let _listening_in = socket(domain, kind, Some(ipproto::UDP))?;
    let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for peer in 0..PEERS {
        let [high, low] = u16::try_from(peer)?.to_be_bytes();
        sender.send_to(&[0; ASKED], (Ipv4Addr::new(127, 1, high, low), PORT))?;
        receiver.recv(&mut [0; ASKED])?;
    }
    Ok(json!({}))
}

/// What finds no room for its peer is its container's, and nobody else's datagrams are.
pub(crate) fn of_many_peers_are_counted() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let probes = ProbeSettings {
        udp_flows: ROOM,
        ..settings(Some(cgroup.id()))
    };
    let live = Live::start_with(probes, |pipeline| {
        // Not before all are sent.
        pipeline.snapshot_interval = Duration::from_secs(5);
    })?;
    workload::run(&cgroup, "many_peers", &[])?;
    let sent = number(PEERS);
    let of = |snapshot: &Snapshot, metric, direction| {
        total(snapshot, metric, &[(Attr::NetworkIoDirection, direction)])
    };
    let read = live.snapshot_when("all datagrams", |snapshot| {
        of(snapshot, Metric::UdpDatagrams, "transmit") >= sent
            && of(snapshot, Metric::UdpDatagrams, "receive") >= sent
    })?;
    for direction in ["transmit", "receive"] {
        assert_eq!(of(&read, Metric::UdpDatagrams, direction), sent);
        let bytes = of(&read, Metric::UdpIo, direction);
        assert_eq!(bytes, sent * number(ASKED), "{direction}");
    }
    let rest = live.counters.discards(Discard::KernelUdpFull);
    // To the receiving end all come from one address.
    assert_eq!(rest, u64::try_from(PEERS)? + 1 - u64::from(ROOM));
    Ok(())
}

/// Extensions of IPv6 (RFC 8200, section 4) that stand before the datagram: options of no meaning, and a fragment that is the whole.
const NO_FRAGMENT: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const OPTIONS: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const UDP: u8 = 17;
const EACH_ODD: usize = 10;

/// The workload: datagrams in packets that are made by hand.
pub(crate) fn odd_packets(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let receiver = UdpSocket::bind((Ipv6Addr::LOCALHOST, PORT))?;
    receiver.set_read_timeout(Some(Duration::from_secs(10)))?;
    let raw = ipproto::RAW;
    let sender = socket(AddressFamily::INET6, SocketType::RAW, Some(raw))?;
    for extensions in [
        &[(FRAGMENT, NO_FRAGMENT)][..],
        &[(DESTINATION_OPTIONS, OPTIONS)],
        &[(DESTINATION_OPTIONS, OPTIONS), (FRAGMENT, NO_FRAGMENT)],
    ] {
        for _ in 0..EACH_ODD {
            let to = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
            sendto(&sender, &packet(extensions)?, SendFlags::empty(), &to)?;
            receiver.recv(&mut [0; ASKED])?;
        }
    }
    Ok(json!({}))
}

/// A packet of IPv6 over loopback with these extensions, and a datagram without a payload.
fn packet(extensions: &[(u8, [u8; 8])]) -> Result<Vec<u8>> {
    let ports = [40_000, PORT].map(u16::to_be_bytes).concat();
    let length = 8_u16.to_be_bytes();
    let address = Ipv6Addr::LOCALHOST.octets();
    let pseudo_header = [&address[..], &address, &[0, 0], &length, &[0, 0, 0, UDP]].concat();
    let sum = checksum(&[&pseudo_header[..], &ports, &length].concat());
    let datagram = [&ports[..], &length, &sum.to_be_bytes()].concat();
    let mut kinds = extensions.iter().map(|(kind, _)| *kind).chain([UDP]);
    let first = kinds.next().context("a kind")?;
    let extensions = extensions
        .iter()
        .zip(kinds)
        .flat_map(|((_, extension), next)| {
            let mut extension = *extension;
            extension[0] = next;
            extension
        });
    let carried: Vec<u8> = extensions.chain(datagram).collect();
    let length = u16::try_from(carried.len())?.to_be_bytes();
    let header = [
        &[0x60, 0, 0, 0][..],
        &length,
        &[first, 64],
        &address,
        &address,
    ]
    .concat();
    Ok([header, carried].concat())
}

pub(crate) fn in_odd_packets_are_counted() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = quick(Some(cgroup.id()))?;
    workload::run(&cgroup, "odd_packets", &[])?;
    let sent = number(3 * EACH_ODD);
    let of = |snapshot: &Snapshot, direction| {
        let having = [(Attr::NetworkIoDirection, direction)];
        total(snapshot, Metric::UdpDatagrams, &having)
    };
    let read = live.snapshot_when("all datagrams", |snapshot| of(snapshot, "receive") >= sent)?;
    assert_eq!([of(&read, "transmit"), of(&read, "receive")], [sent; 2]);
    live.ensure_nothing_lost()
}

const SENT: usize = 2_000;
const REFUSED: usize = 7;

/// The workload: a receiver that reads nothing, and a port where nobody is.
pub(crate) fn overflow(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for sent in 1..=SENT {
        sender.send_to(&[0; 1_000], (Ipv4Addr::LOCALHOST, PORT))?;
        if sent % 100 == 0 {
            until_delivered(sent)?;
        }
    }
    drop(receiver);
    for _ in 0..REFUSED {
        sender.send_to(&[0; 10], SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)))?;
    }
    // Each is answered by a message that nobody is there.
    until_delivered(SENT + 2 * REFUSED)?;
    Ok(json!(kernel_counters()?))
}

/// Waits for so many packets: on a slow processor they arrive long after they were sent, and if there are many, not all of them.
fn until_delivered(packets: usize) -> Result<()> {
    let start = Instant::now();
    while kernel_counters()?.get("InDelivers") < Some(&number(packets)) {
        ensure!(
            start.elapsed() < Duration::from_secs(20),
            "packets do not arrive"
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

pub(crate) fn drops_have_their_reason() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = quick(Some(cgroup.id()))?;
    let said = workload::run(&cgroup, "overflow", &[])?;
    let overflown = said["RcvbufErrors"].as_i64().context("of the kernel")?;
    let unheard = said["NoPorts"].as_i64().context("of the kernel")?;
    ensure!(overflown > 100 && unheard == number(REFUSED), "{said}");
    let read = live.snapshot_when("all drops", |snapshot| {
        total(snapshot, Metric::PacketDrops, &[]) >= overflown + unheard
    })?;
    let told: Vec<_> = points(&read, Metric::PacketDrops, &[])
        .map(|point| {
            (
                snapshot::attribute(point, Attr::DropReason),
                snapshot::total_of(point),
            )
        })
        .collect();
    let of = |read: &Snapshot, reason: &str| {
        total(read, Metric::PacketDrops, &[(Attr::DropReason, reason)])
    };
    if of(&read, "SOCKET_RCVBUFF") == 0 {
        // Before 5.17 there are no reasons but places: at least that many, under the name of a function.
        let functions = total(&read, Metric::PacketDrops, &[]) - of(&read, "_OTHER");
        assert!(functions >= overflown + unheard, "{told:?}");
        return Ok(());
    }
    assert_eq!(of(&read, "SOCKET_RCVBUFF"), overflown, "{told:?}");
    // Others may call where nobody is, too: those in the namespace are not told apart.
    assert!(of(&read, "NO_SOCKET") >= unheard, "{told:?}");
    Ok(())
}
