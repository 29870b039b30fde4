//! A node that forwards between two pods, in network namespaces of their own, and what may happen to packets on the way.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use wellhead_tests::{netns, require};

/// Addresses of the pod that is asked.
pub(crate) const SERVER: [&str; 2] = ["10.3.0.2", "fd00:3::2"];

/// `$1` is a thread of the pod that asks, `$2` one of the pod that is asked.
const NODE: &str = "
ip link add wh-a type veth peer name wh-client
ip link set wh-client netns $1
ip link add wh-b type veth peer name wh-server
ip link set wh-server netns $2
ip address add 10.2.0.1/24 dev wh-a
ip address add 10.3.0.1/24 dev wh-b
ip -6 address add fd00:2::1/64 dev wh-a nodad
ip -6 address add fd00:3::1/64 dev wh-b nodad
";

const NODE_UP: &str = "
ip link set wh-a up
ip link set wh-b up
";

/// `$1` is the pod's name, `$2` the number in its addresses.
const POD: &str = "
ip address add 10.$2.0.2/24 dev wh-$1
ip -6 address add fd00:$2::2/64 dev wh-$1 nodad
ip link set wh-$1 up
ip route add default via 10.$2.0.1
ip -6 route add default via fd00:$2::1
";

/// Otherwise a device has no address to ask for others by in its first second.
fn use_addresses_at_once(device: &str) -> Result<()> {
    netns::set(&format!("ipv6/conf/{device}/accept_dad"), "0")
}

/// What is done to packets in each namespace: rules of nftables, and further commands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Way {
    pub(crate) client: &'static str,
    pub(crate) node: &'static str,
    pub(crate) server: &'static str,
    /// In both pods. `$1` is the pod's name.
    pub(crate) commands: &'static str,
}

/// What is left to do in the pod that is asked, once the other is done.
pub(crate) type Finish<T> = Box<dyn FnOnce() -> Result<T>>;

/// Whether there are the programs it takes.
pub(crate) fn programs_are_there(test: &str, names: &[&str]) -> Result<bool> {
    for name in names {
        if !require::program(test, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Has one pod ask another; returns what came of it in either, in the order in which they are named.
pub(crate) fn between_pods<T: Send + 'static>(
    way: Way,
    ask: impl FnOnce() -> Result<T> + Send + 'static,
    serve: impl FnOnce() -> Result<Finish<T>> + Send + 'static,
) -> Result<[T; 2]> {
    netns::isolate()?;
    let client = Pod::start("client", 2, way.client, way.commands);
    let server = Pod::start("server", 3, way.server, way.commands);
    let threads = [&client, &server].map(|pod| pod.thread.recv());
    let [client_thread, server_thread] = threads;
    let threads = [client_thread?.to_string(), server_thread?.to_string()];
    commands(NODE, &threads.each_ref().map(String::as_str))?;
    for device in ["wh-a", "wh-b"] {
        use_addresses_at_once(device)?;
    }
    commands(NODE_UP, &[])?;
    netns::set("ipv4/ip_forward", "1")?;
    netns::set("ipv6/conf/all/forwarding", "1")?;
    rules(way.node)?;
    let (say_ready, ready) = mpsc::sync_channel(1);
    let (say_done, done) = mpsc::sync_channel(1);
    let server = server.run(move || {
        let finish = serve()?;
        say_ready.send(())?;
        done.recv()?;
        finish()
    })?;
    // If it does not become ready, it says why.
    let client = match ready.recv() {
        Ok(()) => client.run(ask)?.join(),
        Err(_closed) => return Err(wait_for(server.join()).err().context("it ended")?),
    };
    say_done.send(())?;
    Ok([wait_for(client)?, wait_for(server.join())?])
}

/// A thread with a network namespace of its own, which waits for something to do.
struct Pod<T> {
    thread: mpsc::Receiver<i32>,
    job: mpsc::SyncSender<Job<T>>,
    running: thread::JoinHandle<Result<T>>,
}

type Job<T> = Box<dyn FnOnce() -> Result<T> + Send>;

impl<T: Send + 'static> Pod<T> {
    fn start(
        name: &'static str,
        number: u8,
        rules_there: &'static str,
        more: &'static str,
    ) -> Self {
        let (say_thread, thread) = mpsc::sync_channel(1);
        let (job, jobs) = mpsc::sync_channel::<Job<T>>(1);
        let running = thread::spawn(move || {
            netns::isolate()?;
            say_thread.send(rustix::thread::gettid().as_raw_nonzero().get())?;
            let job = jobs.recv()?;
            use_addresses_at_once(&format!("wh-{name}"))?;
            commands(POD, &[name, &number.to_string()])?;
            rules(rules_there)?;
            commands(more, &[name])?;
            job()
        });
        Self {
            thread,
            job,
            running,
        }
    }

    fn run(
        self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<T>>> {
        self.job
            .send(Box::new(job))
            .ok()
            .context("the pod is gone")?;
        Ok(self.running)
    }
}

fn wait_for<T>(joined: thread::Result<Result<T>>) -> Result<T> {
    match joined {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a command a line in the calling thread's network namespace, without a shell: that of guests has commands of its own under
/// these names. `$1` and so on are replaced.
pub(crate) fn commands(lines: &str, arguments: &[&str]) -> Result<()> {
    let mut lines = lines.to_owned();
    for (number, argument) in arguments.iter().enumerate() {
        lines = lines.replace(&format!("${}", number + 1), argument);
    }
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let program = words.next().context("a program")?;
        let output = Command::new(program).args(words).output();
        let output = output.context(program.to_owned())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {said}");
    }
    Ok(())
}

/// Has nftables take in rules, in the calling thread's network namespace.
fn rules(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut nft = Command::new("nft");
    let nft = nft.args(["-f", "-"]).stdin(Stdio::piped());
    let mut running = nft.stderr(Stdio::piped()).spawn().context("nft")?;
    let mut input = running.stdin.take().context("a pipe")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = running.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {said}");
    Ok(())
}

/// A port of the pod that is asked.
pub(crate) fn at_server(address: &str, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, port))
}
