//! Where packets really went: destinations as the kernel's connection tracking translated them, such as the pod behind a
//! Service's address.
//!
//! The messages are those of `netlink-packet-netfilter`.

mod message;
mod status;

use std::{io, net::SocketAddr};

use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_NETFILTER};
use thiserror::Error;

use self::message::{Answer, Direction, Entry};
pub(super) use self::status::open_if_wanted;
pub use self::status::{WantConntrack, conntrack_status};
use super::{
    NamespaceError, NetworkNamespace, host_netns::host_network_namespace, sock_diag::uninterrupted,
};
use crate::counters::{Counters, LookUp};

/// More than an entry takes, or an error with the question it repeats.
const BUFFER: usize = 4 << 10;

/// Messages that are looked at for one answer. Left over are those of earlier questions that failed half-way.
const MOST_OTHERS: u32 = 8;

/// Why a translation is not known.
#[derive(Debug, Error)]
pub enum ConntrackError {
    /// The host's network namespace is not known or cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// There can be no such socket.
    #[error("open a netfilter socket: {0}")]
    Open(#[source] io::Error),
    /// The kernel is built without it, or its module cannot be loaded.
    #[error("the kernel does not tell of conntrack (module nf_conntrack_netlink)")]
    Absent,
    /// `CAP_NET_ADMIN` is missing, in the user namespace that owns the network namespace.
    #[error("ask conntrack: not permitted, needs CAP_NET_ADMIN")]
    NotPermitted,
    /// The question cannot be sent.
    #[error("ask conntrack: {0}")]
    Ask(#[source] io::Error),
    /// The answer cannot be read, or there is none.
    #[error("read the answer of conntrack: {0}")]
    Receive(#[source] io::Error),
    /// The kernel does not answer the question.
    #[error("conntrack refuses: {0}")]
    Refused(#[source] io::Error),
    /// The answer is not as `include/uapi/linux/netfilter/nfnetlink_conntrack.h` has it.
    #[error("an answer of conntrack that makes no sense: {0}")]
    Malformed(String),
}

/// A protocol whose connections have ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "everybody knows them")]
pub enum Transport {
    Tcp,
    Udp,
}

/// Connection tracking of one network namespace. To ask changes nothing: no entry is made, kept alive or removed, and
/// tracking is not switched on where no rule of the namespace needs it (then there are no entries).
///
/// Entries in conntrack zones other than the default one are not found.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    buffer: Vec<u8>,
    /// Of the last question.
    number: u32,
}

impl Conntrack {
    /// Opens it for the host's network namespace. The first question has the kernel load the module
    /// `nf_conntrack_netlink` and may take as long; it is asked here.
    ///
    /// # Errors
    /// The host's namespace cannot be entered, which takes `CAP_SYS_ADMIN` unless the caller is in it; or asking is not
    /// permitted (`CAP_NET_ADMIN`) or not possible.
    pub fn open() -> Result<Self, ConntrackError> {
        Self::open_in(&host_network_namespace()?)
    }

    /// The same for a certain network namespace.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(namespace: &NetworkNamespace) -> Result<Self, ConntrackError> {
        // A socket stays in the namespace it was made in.
        let socket = namespace.run_inside(|| Socket::new(NETLINK_NETFILTER))?;
        let socket = socket.map_err(|error| match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => ConntrackError::Absent,
            _ => ConntrackError::Open(error),
        })?;
        // The kernel answers before it returns from being asked, so nothing is ever worth waiting for.
        socket
            .set_non_blocking(true)
            .map_err(ConntrackError::Open)?;
        let mut conntrack = Self {
            socket,
            buffer: vec![0; BUFFER],
            number: 0,
        };
        let nobody = SocketAddr::from(([0; 4], 0));
        conntrack.look_up(Transport::Tcp, nobody, nobody)?;
        Ok(conntrack)
    }

    /// What the destination of a connection was translated to, if it was: the address and port packets are really
    /// exchanged with. `local` is the end that opened it, before any translation of its own; the other end's view has no
    /// translation. Does not wait. What comes of it is counted.
    ///
    /// An entry is there from the first packet until a while after the last (two minutes after an orderly end of TCP, ten
    /// seconds after a reset, by default). Of an attempt that was refused, the kernel forgets it at once.
    ///
    /// # Errors
    /// The kernel does not tell, or not in a way that can be understood.
    pub fn translated(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
        counters: &Counters,
    ) -> Result<Option<SocketAddr>, ConntrackError> {
        let found = self.look_up(transport, local, remote);
        counters.look_up(match &found {
            Ok(Found::Translated(_)) => LookUp::Translated,
            Ok(Found::Untranslated) => LookUp::Untranslated,
            Ok(Found::Nothing) => LookUp::Unknown,
            Err(_) => LookUp::Failed,
        });
        found.map(|found| match found {
            Found::Translated(destination) => Some(destination),
            Found::Untranslated | Found::Nothing => None,
        })
    }

    fn look_up(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Found, ConntrackError> {
        let Some(asked) = Direction::new(transport, local, remote) else {
            return Ok(Found::Nothing);
        };
        self.number = self.number.wrapping_add(1);
        let question = message::question(self.number, asked);
        let kernel = NetlinkAddr::new(0, 0);
        uninterrupted(|| self.socket.send_to(&question, &kernel, 0))
            .map_err(ConntrackError::Ask)?;
        match self.read()? {
            Some(entry) => Found::of(asked, entry),
            None => Ok(Found::Nothing),
        }
    }

    /// The answer to the last question.
    fn read(&mut self) -> Result<Option<Entry>, ConntrackError> {
        for _ in 0..=MOST_OTHERS {
            let buffer = &mut self.buffer;
            let received =
                uninterrupted(|| self.socket.recv_from(&mut &mut **buffer, libc::MSG_TRUNC));
            let (length, sender) = received.map_err(ConntrackError::Receive)?;
            if sender.port_number() != 0 {
                // Other processes may send to this socket; only the kernel is believed.
                continue;
            }
            let datagram = buffer.get(..length).ok_or_else(|| {
                ConntrackError::Malformed(format!("a datagram of {length} bytes"))
            })?;
            match message::answer(datagram, self.number)? {
                Answer::Other => {}
                Answer::None => return Ok(None),
                Answer::Entry(entry) => return Ok(Some(entry)),
            }
        }
        let text = format!("{MOST_OTHERS} messages that answer nothing");
        Err(ConntrackError::Malformed(text))
    }
}

/// What came of a look-up.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Translated(SocketAddr),
    Untranslated,
    Nothing,
}

impl Found {
    /// The kernel finds an entry by either direction.
    fn of(asked: Direction, entry: Entry) -> Result<Self, ConntrackError> {
        let Entry { original, reply } = entry;
        if original == asked {
            let answers_from = reply.source;
            if answers_from == original.destination {
                return Ok(Self::Untranslated);
            }
            return Ok(Self::Translated(answers_from));
        }
        if reply == asked {
            // Asked from the end that was connected to: its other end is the one it sees, or hides behind that.
            return Ok(Self::Untranslated);
        }
        let text = "the entry of another connection".to_owned();
        Err(ConntrackError::Malformed(text))
    }
}
