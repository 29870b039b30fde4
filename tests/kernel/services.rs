//! A node with one pod, in network namespaces of their own, and Services on it as kube-proxy makes them: addresses nobody
//! has, translated to one of two backends by iptables.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead_tests::netns;

use crate::sock_diag::Meeting;

/// Connections of each kind.
pub(crate) const CONNECTIONS: usize = 200;

/// Addresses of the node.
const BACKENDS: [&str; 4] = [
    "10.1.0.1:8080",
    "10.1.0.2:8081",
    "[fd00:1::1]:8080",
    "[fd00:1::2]:8081",
];
const DATAGRAM_BACKEND: &str = "10.1.0.1:5353";
const SERVICE: &str = "10.96.0.10:80";
const SERVICE_IPV6: &str = "[fd00:96::a]:80";
const DATAGRAM_SERVICE: &str = "10.96.0.10:53";

/// How long packets within the machine may take.
const LIMIT: Duration = Duration::from_secs(10);

/// `$1` is a thread of the pod. The node routes to Services like to anything elsewhere, so that its own connections to them
/// find a source address.
const NODE: &str = "
ip link add wh-node type veth peer name wh-pod
ip link set wh-pod netns $1
ip address add 10.2.0.1/24 dev wh-node
ip -6 address add fd00:2::1/64 dev wh-node nodad
ip link set wh-node up
ip route add 10.96.0.0/16 via 10.2.0.2
ip address add 10.1.0.1/32 dev lo
ip address add 10.1.0.2/32 dev lo
ip -6 address add fd00:1::1/128 dev lo nodad
ip -6 address add fd00:1::2/128 dev lo nodad
iptables -t nat -N SERVICE
iptables -t nat -A SERVICE -p tcp -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 10.1.0.1:8080
iptables -t nat -A SERVICE -p tcp -j DNAT --to-destination 10.1.0.2:8081
iptables -t nat -A SERVICE -p udp -j DNAT --to-destination 10.1.0.1:5353
for chain in PREROUTING OUTPUT; do
    iptables -t nat -A $chain -d 10.96.0.10 -p tcp --dport 80 -j SERVICE
    iptables -t nat -A $chain -d 10.96.0.10 -p udp --dport 53 -j SERVICE
done
ip6tables -t nat -N SERVICE
ip6tables -t nat -A SERVICE -p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination [fd00:1::1]:8080
ip6tables -t nat -A SERVICE -p tcp -j DNAT --to-destination [fd00:1::2]:8081
ip6tables -t nat -A PREROUTING -d fd00:96::a -p tcp --dport 80 -j SERVICE
";

const POD: &str = "
ip address add 10.2.0.2/24 dev wh-pod
ip -6 address add fd00:2::2/64 dev wh-pod nodad
ip link set wh-pod up
ip route add default via 10.2.0.1
ip -6 route add default via fd00:2::1
";

/// A connection, and who is at its other end.
struct Flow {
    kind: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
    /// What it says of itself.
    backend: SocketAddr,
    /// Until the end; a socket for datagrams is not kept.
    _held: Option<TcpStream>,
}

impl Flow {
    fn open(kind: &'static str, destination: &str) -> Result<Self> {
        let remote: SocketAddr = destination.parse()?;
        let stream = TcpStream::connect_timeout(&remote, LIMIT)
            .with_context(|| format!("{kind}: connect to {destination}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(Self {
            kind,
            local: stream.local_addr()?,
            remote,
            backend: line.trim().parse()?,
            _held: Some(stream),
        })
    }

    fn send(kind: &'static str, destination: &str) -> Result<Self> {
        let remote: SocketAddr = destination.parse()?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(remote)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send(b"who?")?;
        let mut line = [0; 64];
        let length = socket.recv(&mut line).context(kind)?;
        Ok(Self {
            kind,
            local: socket.local_addr()?,
            remote,
            backend: str::from_utf8(&line[..length])?.parse()?,
            _held: None,
        })
    }

    fn told(&self) -> Value {
        let Self {
            kind,
            local,
            remote,
            backend,
            ..
        } = self;
        json!({ "kind": kind, "local": local, "remote": remote, "backend": backend })
    }
}

/// The workload: connections to Services and to backends themselves, from the pod and from the node, until it may end.
pub(crate) fn run(arguments: &[String]) -> Result<Value> {
    let directory = arguments.first().context("where?")?;
    let netns = netns::isolate()?;
    let (say_thread, thread) = mpsc::sync_channel(1);
    let (go, may_go) = mpsc::sync_channel(1);
    let pod = thread::spawn(move || -> Result<Vec<Flow>> {
        netns::isolate()?;
        say_thread.send(rustix::thread::gettid())?;
        may_go.recv()?;
        from_pod()
    });
    let thread = thread.recv().context("the pod has no namespace")?;
    shell(NODE, &thread.as_raw_nonzero().to_string())?;
    for backend in BACKENDS {
        serve(backend)?;
    }
    serve_datagrams()?;
    go.send(())?;
    let mut flows = match pod.join() {
        Ok(flows) => flows?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    for _ in 0..CONNECTIONS {
        flows.push(Flow::open("node", SERVICE)?);
    }
    let told: Vec<Value> = flows.iter().map(Flow::told).collect();
    Meeting::meet(directory, &json!({ "netns": netns, "flows": told }))?;
    drop(flows);
    Ok(json!({}))
}

fn from_pod() -> Result<Vec<Flow>> {
    shell(POD, "")?;
    let mut flows = Vec::new();
    for _ in 0..CONNECTIONS {
        flows.push(Flow::open("pod", SERVICE)?);
        flows.push(Flow::open("pod_ipv6", SERVICE_IPV6)?);
        flows.push(Flow::open("direct", BACKENDS[0])?);
        flows.push(Flow::open("direct_ipv6", BACKENDS[3])?);
        flows.push(Flow::send("datagram", DATAGRAM_SERVICE)?);
    }
    Ok(flows)
}

/// Runs a script in the calling thread's network namespace.
fn shell(script: &str, argument: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    let output = shell
        .args(["-exc", script, "sh", argument])
        .output()
        .context("sh")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}

/// Tells whoever connects where the connection arrived, and keeps it.
fn serve(backend: &str) -> Result<()> {
    let listener = TcpListener::bind(backend).with_context(|| format!("listen on {backend}"))?;
    thread::spawn(move || -> io::Result<()> {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream?;
            let arrived_at = stream.local_addr()?;
            writeln!(stream, "{arrived_at}")?;
            held.push(stream);
        }
        Ok(())
    });
    Ok(())
}

fn serve_datagrams() -> Result<()> {
    let socket = UdpSocket::bind(DATAGRAM_BACKEND)?;
    thread::spawn(move || -> io::Result<()> {
        let mut question = [0; 64];
        loop {
            let (_, sender) = socket.recv_from(&mut question)?;
            socket.send_to(DATAGRAM_BACKEND.as_bytes(), sender)?;
        }
    });
    Ok(())
}
