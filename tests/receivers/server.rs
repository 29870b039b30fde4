//! A program that serves on loopback while a test runs.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::support::{kill, until};

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    _directory: TempDir,
}

impl Server {
    /// Starts one with files in a directory of its own, and waits until it accepts connections at a port.
    pub(crate) fn start(directory: TempDir, command: &mut Command, port: u16) -> Self {
        let log = directory.path().join("log");
        let output = File::create(&log).expect("a log");
        let child = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Self {
            child,
            log,
            _directory: directory,
        };
        until(&format!("{command:?} to listen"), || {
            let ended = server.child.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "{command:?} ended: {}", server.log());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        server
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("a log")).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill(&mut self.child);
        if thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4_000);
            let end = log.get(from..).unwrap_or(&log);
            eprintln!("the end of {}:\n{end}", self.log.display());
        }
    }
}

/// Writes a file of a program's configuration.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).expect("written");
    file
}

/// A port that nobody listens at, below those that the kernel gives away by itself: it stays free until the program that it is
/// for has started.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const NUMBER: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at a time begin at different places.
    let start = u16::try_from(process::id() % u32::from(NUMBER)).expect("less than their number");
    let ports = (0..NUMBER).map(|_| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + start.wrapping_mul(37).wrapping_add(next) % NUMBER
    });
    let mut free = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port")
}
