//! The two ends of a connection, step by step: one script for each way to close it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{net::sockopt, process::Signal};
use serde_json::{Value, json};
use wellhead_tests::{execute, netns, require::say};

/// Both scripts of a kind of close, the client's first. Each ends with the end closed.
type Kind = (&'static str, Script, Script);

/// What an end does from the handshake on.
type Script = fn(End) -> Result<Moved>;

/// Bytes an end sent and received.
type Moved = [u64; 2];

const KINDS: &[Kind] = &[
    ("client", ask, answer_to_end),
    ("server", ask_to_end, answer),
    ("simultaneous", crossing_first, crossing_second),
    ("orphaned", ask, |mut end| {
        end.answer()?;
        end.receive_to_end()?;
        end.send(50)?;
        end.expect_reset()?;
        Ok(end.moved)
    }),
    (
        "linger_0",
        |mut end| {
            end.ask()?;
            sockopt::set_socket_linger(&end.stream, Some(Duration::ZERO))?;
            Ok(end.moved)
        },
        answer_to_reset,
    ),
    (
        "unread_data",
        |mut end| {
            end.send(100)?;
            end.leave_unread(200)?;
            Ok(end.moved)
        },
        answer_to_reset,
    ),
    (
        "server_killed",
        |mut end| {
            end.ask()?;
            end.wait()?;
            let pid = rustix::process::Pid::from_raw(end.server).context("a pid")?;
            rustix::process::kill_process(pid, Signal::KILL)?;
            end.receive_to_end()?;
            Ok(end.moved)
        },
        |mut end| {
            end.answer()?;
            report(&mut end.results, end.moved)?;
            end.tell()?;
            std::thread::sleep(Duration::from_secs(30));
            Ok(end.moved)
        },
    ),
    (
        "half",
        |mut end| {
            end.send(100)?;
            end.stream.shutdown(Shutdown::Write)?;
            end.receive_to_end()?;
            Ok(end.moved)
        },
        |mut end| {
            end.receive_to_end()?;
            end.send(5_000)?;
            Ok(end.moved)
        },
    ),
    (
        "megabytes",
        |mut end| {
            end.send(3 << 20)?;
            end.receive(5 << 20)?;
            Ok(end.moved)
        },
        |mut end| {
            end.receive(3 << 20)?;
            end.send(5 << 20)?;
            end.receive_to_end()?;
            Ok(end.moved)
        },
    ),
    (
        "loss",
        |mut end| {
            end.wait()?;
            end.ask()?;
            Ok(end.moved)
        },
        |mut end| {
            end.drop_all(true)?;
            end.tell()?;
            // Longer than the first retransmission takes.
            std::thread::sleep(Duration::from_millis(500));
            end.drop_all(false)?;
            end.answer()?;
            end.receive_to_end()?;
            Ok(end.moved)
        },
    ),
];

/// The workload: server and client, each a process, in a network namespace of their own.
pub(crate) fn run(arguments: &[String]) -> Result<Value> {
    let name = arguments.first().context("which kind?")?;
    let kind = KINDS.iter().find(|(known, ..)| known == name);
    let (_, client, server) = kind.context("no such kind")?;
    let netns = netns::isolate()?;
    let (line, server_line) = UnixStream::pair()?;
    let (mut results, server_results) = UnixStream::pair()?;
    let pid = execute::fork(move || match serve(*server, server_line, server_results) {
        Ok(()) => 0,
        Err(error) => {
            say(format_args!("server failed: {error:#}"));
            1
        }
    })?;
    rustix::thread::set_name(c"kt-client")?;
    let mut port = [0; 2];
    results.read_exact(&mut port)?;
    let server_port = u16::from_ne_bytes(port);
    let stream = TcpStream::connect(("127.0.0.1", server_port))?;
    let client_port = stream.local_addr()?.port();
    let client_moved = client(End {
        stream,
        line,
        results: results.try_clone()?,
        server: pid,
        moved: [0, 0],
    })?;
    let server_moved = read_report(&mut results)?;
    execute::wait(pid)?;
    Ok(json!({
        "netns": netns,
        "client": { "pid": std::process::id(), "port": client_port, "moved": client_moved },
        "server": { "pid": pid, "port": server_port, "moved": server_moved },
    }))
}

fn serve(script: Script, line: UnixStream, mut results: UnixStream) -> Result<()> {
    rustix::thread::set_name(c"kt-server")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    results.write_all(&listener.local_addr()?.port().to_ne_bytes())?;
    let (stream, _) = listener.accept()?;
    let moved = script(End {
        stream,
        line,
        results: results.try_clone()?,
        server: 0,
        moved: [0, 0],
    })?;
    report(&mut results, moved)
}

fn ask(mut end: End) -> Result<Moved> {
    end.ask()?;
    Ok(end.moved)
}

fn ask_to_end(mut end: End) -> Result<Moved> {
    end.ask()?;
    end.receive_to_end()?;
    Ok(end.moved)
}

fn answer(mut end: End) -> Result<Moved> {
    end.answer()?;
    Ok(end.moved)
}

fn answer_to_end(mut end: End) -> Result<Moved> {
    end.answer()?;
    end.receive_to_end()?;
    Ok(end.moved)
}

fn answer_to_reset(mut end: End) -> Result<Moved> {
    end.answer()?;
    end.expect_reset()?;
    Ok(end.moved)
}

/// Both ends fill the other's window and then shut down, so that both FINs wait behind data. This end gets the other's FIN
/// before its own could go: its state is CLOSING.
fn crossing_first(mut end: End) -> Result<Moved> {
    end.fill()?;
    end.tell()?;
    end.wait()?;
    end.stream.shutdown(Shutdown::Write)?;
    end.tell()?;
    end.wait()?;
    end.receive_to_end()?;
    end.tell()?;
    end.wait()?;
    Ok(end.moved)
}

fn crossing_second(mut end: End) -> Result<Moved> {
    end.wait()?;
    end.fill()?;
    end.tell()?;
    end.wait()?;
    end.stream.shutdown(Shutdown::Write)?;
    end.tell()?;
    end.wait()?;
    end.receive_to_end()?;
    end.tell()?;
    Ok(end.moved)
}

/// One end, with a line to the process at the other end.
struct End {
    stream: TcpStream,
    line: UnixStream,
    /// Where the server tells what it moved.
    results: UnixStream,
    /// The server's process id; 0 in the server itself.
    server: i32,
    moved: Moved,
}

impl End {
    fn ask(&mut self) -> Result<()> {
        self.send(100)?;
        self.receive(200)
    }

    fn answer(&mut self) -> Result<()> {
        self.receive(100)?;
        self.send(200)
    }

    fn send(&mut self, bytes: usize) -> Result<()> {
        self.stream.write_all(&vec![b'x'; bytes])?;
        self.moved[0] += bytes as u64;
        Ok(())
    }

    fn receive(&mut self, bytes: usize) -> Result<()> {
        self.stream.read_exact(&mut vec![0; bytes])?;
        self.moved[1] += bytes as u64;
        Ok(())
    }

    fn receive_to_end(&mut self) -> Result<()> {
        self.moved[1] += std::io::copy(&mut self.stream, &mut std::io::sink())?;
        Ok(())
    }

    /// Waits until that much has arrived, and leaves it there.
    fn leave_unread(&mut self, bytes: u64) -> Result<()> {
        while rustix::io::ioctl_fionread(&self.stream)? < bytes {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.moved[1] += bytes;
        Ok(())
    }

    /// Sends until nothing more fits.
    fn fill(&mut self) -> Result<()> {
        self.stream.set_nonblocking(true)?;
        loop {
            match self.stream.write(&[b'x'; 16 << 10]) {
                Ok(bytes) => self.moved[0] += bytes as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.stream.set_nonblocking(false)?)
    }

    /// Waits for the other end's reset; what is on the socket first does not matter.
    fn expect_reset(&mut self) -> Result<()> {
        let reset = self.stream.read(&mut [0]);
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        // After a FIN the reset is an error of the next write, and reading finds the end.
        let is_reset = match &reset {
            Ok(bytes) => *bytes == 0,
            Err(error) => kinds.contains(&error.kind()),
        };
        ensure!(is_reset, "no reset but {reset:?}");
        Ok(())
    }

    /// Lets the kernel drop every segment that arrives, or no longer: what was sent is sent again.
    fn drop_all(&mut self, on: bool) -> Result<()> {
        // `BPF_RET | BPF_K`: of each packet keep nothing.
        let mut filter = libc::sock_filter {
            code: 6,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let program = libc::sock_fprog {
            len: 1,
            filter: &raw mut filter,
        };
        let option = if on {
            libc::SO_ATTACH_FILTER
        } else {
            libc::SO_DETACH_FILTER
        };
        let length = libc::socklen_t::try_from(size_of_val(&program))?;
        // SAFETY: the program and its one instruction outlive the call, which copies them.
        let result = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const program).cast(),
                length,
            )
        };
        ensure!(result == 0, "filter: {}", std::io::Error::last_os_error());
        Ok(())
    }

    fn tell(&mut self) -> Result<()> {
        Ok(self.line.write_all(&[1])?)
    }

    fn wait(&mut self) -> Result<()> {
        Ok(self.line.read_exact(&mut [0])?)
    }
}

fn report(line: &mut UnixStream, moved: Moved) -> Result<()> {
    for bytes in moved {
        line.write_all(&bytes.to_ne_bytes())?;
    }
    Ok(())
}

fn read_report(line: &mut UnixStream) -> Result<Moved> {
    let mut moved = [0; 2];
    for bytes in &mut moved {
        let mut word = [0; 8];
        line.read_exact(&mut word)?;
        *bytes = u64::from_ne_bytes(word);
    }
    Ok(moved)
}
