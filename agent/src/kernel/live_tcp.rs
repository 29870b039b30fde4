//! The kernel's own count of TCP connections in every network namespace.

use thiserror::Error;

use super::{
    Capabilities, Capability, ConnectionTable, NamespaceError, NetworkNamespaces, SockDiagError,
    TcpCounts, TcpState, environment::sees_all_processes, roll::Roll, sock_diag::visit_tcp,
};

/// Why the connections of a network namespace are not known.
#[derive(Debug, Error)]
pub enum LiveTcpError {
    /// It cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel does not tell.
    #[error(transparent)]
    SockDiag(#[from] SockDiagError),
}

/// TCP connections as the kernel counts them.
#[derive(Debug)]
pub struct LiveTcp {
    /// By the inode number of their network namespace; the caller's own is the first.
    pub namespaces: Vec<(u64, Result<TcpCounts, LiveTcpError>)>,
    /// Namespaces left out, because there were more than the limit allows.
    pub beyond_limit: usize,
    /// Processes whose namespace could not be read ([`NetworkNamespaces::hidden_processes`]).
    pub hidden_processes: usize,
    /// Entries of the table of open connections that were there before the count and are still, and whose sockets it did not
    /// come upon, in no order. `None` where the table was not looked at.
    pub missing: Option<Vec<u64>>,
}

impl LiveTcp {
    /// Whether every namespace that has a process was counted: what is missing is in none of them.
    pub fn is_complete(&self) -> bool {
        // Without it, processes may not even be listed (`hidepid`, proc(5)).
        let may_look = Capabilities::current()
            .is_ok_and(|held| held.missing(&[Capability::SysPtrace]).is_empty());
        self.beyond_limit == 0
            && self.hidden_processes == 0
            && may_look
            && sees_all_processes() == Some(true)
            && self.namespaces.iter().all(|(_, counts)| counts.is_ok())
    }
}

/// Counts the live TCP connections ([`TcpState::LIVE`]) in each network namespace that a process is in, at most `limit` of
/// them. Blocks.
///
/// Each namespace costs two walks of the kernel's table of connections, whatever is in it: on two cores and a table of 262 144
/// buckets, 0.5 ms for one empty namespace, 40 ms for 100 with 20 sockets each, and 20 ms for 20 000 sockets in one.
///
/// With a `table` it also finds who is missing.
///
/// # Errors
/// No namespace can be found. That one of them cannot be counted is its own result.
pub fn live_tcp_connections(
    limit: usize,
    table: Option<&ConnectionTable>,
) -> Result<LiveTcp, NamespaceError> {
    // First of all: whoever is in the table by now has a socket that can be come upon.
    let roll = table.and_then(ConnectionTable::roll);
    let namespaces = NetworkNamespaces::discover(limit)?;
    let counted = namespaces.run_inside_each(|| match &roll {
        None => visit_tcp(&TcpState::LIVE, |_cookie| {}),
        Some(roll) => visit_tcp(&TcpState::CONNECTING_OR_LIVE, |cookie| roll.tick(cookie)),
    })?;
    let flat = counted.into_iter().map(|(inode, counts)| {
        let counts = match counts {
            Ok(counts) => counts.map_err(LiveTcpError::from),
            Err(error) => Err(error.into()),
        };
        (inode, counts)
    });
    Ok(LiveTcp {
        namespaces: flat.collect(),
        beyond_limit: namespaces.beyond_limit,
        hidden_processes: namespaces.hidden_processes,
        missing: roll.map(Roll::missing),
    })
}
