//! Work whose extent is known exactly, under names and ports that nothing else uses.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tokio::net::TcpSocket;

/// A number that no other call in this process gets.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Programs under new names: links, so that no copy is open for writing while it is executed.
#[derive(Debug)]
pub(crate) struct Programs(Arc<TempDir>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    /// Where it lies until nobody needs it any more.
    _directory: Arc<TempDir>,
}

impl Programs {
    pub(crate) fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().expect("a directory")))
    }

    /// `program` under a name of its own that ends in `tag`.
    pub(crate) fn link(&self, program: &str, tag: &str) -> Program {
        self.named(program, &format!("wh{}-{}-{tag}", process::id(), unique()))
    }

    /// `program` under this name.
    pub(crate) fn named(&self, program: &str, name: &str) -> Program {
        let path = self.0.path().join(name);
        symlink(program, &path).expect("a link");
        Program {
            path,
            name: name.to_owned(),
            _directory: Arc::clone(&self.0),
        }
    }
}

impl Program {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> ExitStatus {
        self.command(arguments).status().expect("the program runs")
    }

    pub(crate) fn run_times(&self, times: u64, arguments: &[&str]) {
        for _ in 0..times {
            self.run(arguments);
        }
    }
}

/// A port that accepts; it stays taken while this lives.
#[derive(Debug)]
pub(crate) struct Served {
    listener: TcpListener,
    /// The port of the accepting end.
    pub(crate) port: String,
}

/// The two ends of a connection.
#[derive(Debug)]
pub(crate) struct Connected {
    client: TcpStream,
    server: TcpStream,
}

impl Served {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Self {
            listener,
            port: port.to_string(),
        }
    }

    pub(crate) fn connect(&self) -> Connected {
        let address = self.listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        let (server, _) = self.listener.accept().expect("its other end");
        Connected { client, server }
    }

    /// Opens connections one after the other, sends `up` bytes to the accepting end and `down` bytes back on each, and
    /// closes it.
    pub(crate) fn exchange(&self, connections: u64, up: usize, down: usize) {
        for _ in 0..connections {
            let mut connected = self.connect();
            connected.exchange(up, down);
            connected.close();
        }
    }
}

impl Connected {
    /// Sends `up` bytes to the accepting end and `down` bytes back.
    pub(crate) fn exchange(&mut self, up: usize, down: usize) {
        let Self { client, server } = self;
        client.write_all(&vec![b'u'; up]).expect("sent");
        server.read_exact(&mut vec![0; up]).expect("received");
        server.write_all(&vec![b'd'; down]).expect("sent");
        client.read_exact(&mut vec![0; down]).expect("received");
    }

    pub(crate) fn close(self) {
        let Self { client, mut server } = self;
        drop(client);
        // The end of the stream has been read: an orderly close.
        assert_eq!(server.read(&mut [0]).expect("the end"), 0);
    }
}

/// Makes connections to a port of their own.
pub(crate) fn exchange(connections: u64, up: usize, down: usize) -> Served {
    let served = Served::new();
    served.exchange(connections, up, down);
    served
}

/// A port that refuses; nobody can take it while this lives.
#[derive(Debug)]
pub(crate) struct Refused {
    _socket: TcpSocket,
    pub(crate) port: String,
}

/// Tries to connect to a port that is taken and not listened on.
pub(crate) fn refused(attempts: u64) -> Refused {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(any).expect("a port");
    let address = socket.local_addr().expect("an address");
    for _ in 0..attempts {
        TcpStream::connect(address).expect_err("nobody listens");
    }
    Refused {
        _socket: socket,
        port: address.port().to_string(),
    }
}
