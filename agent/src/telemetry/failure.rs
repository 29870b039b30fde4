//! Why connections fail: from the kernel's error numbers to `error.type`.

use crate::events::ConnectionEnd;
use crate::events::dns::lookups::{Lookup, LookupEnd};
use crate::events::dns::message::rcode_error_type;

/// `error.type` of a connection attempt that never got through.
pub(super) fn connect_failure(end: &ConnectionEnd) -> &'static str {
    match end.errno {
        0 => without_error(end),
        errno => error_type(errno),
    }
}

/// `error.type` of a socket error.
pub(super) fn error_type(errno: i32) -> &'static str {
    match errno {
        libc::ECONNREFUSED => "connection_refused",
        libc::ETIMEDOUT => "timed_out",
        libc::ECONNRESET => "connection_reset",
        libc::EHOSTUNREACH => "host_unreachable",
        libc::ENETUNREACH => "network_unreachable",
        libc::EADDRNOTAVAIL => "address_not_available",
        libc::ECONNABORTED => "aborted",
        _ => "_OTHER",
    }
}

/// `error.type` of a look-up; `None` if it was answered.
pub(super) fn lookup_failure(lookup: &Lookup) -> Option<&'static str> {
    match lookup.end {
        LookupEnd::Answered { rcode, .. } => rcode_error_type(rcode),
        LookupEnd::TimedOut => Some("timeout"),
        LookupEnd::Overtaken | LookupEnd::GaveUp => Some("_OTHER"),
    }
}

/// Some failures leave no error on the socket: `connect(2)` itself returned it, or nobody waited for one.
fn without_error(end: &ConnectionEnd) -> &'static str {
    let connection = &end.connection;
    // `tcp_v4_connect` (net/ipv4/tcp_ipv4.c) gives up in SYN_SENT when no local port is free; no port
    // was assigned then.
    if connection.local.port() == 0 {
        return "address_not_available";
    }
    // `close(2)` shuts both directions down before the state changes.
    if connection.shut_down {
        "aborted"
    } else {
        "_OTHER"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Connection, Role, Totals};

    #[test]
    fn every_failure_has_a_type() {
        let check = |errno, local_port: u16, shut_down, expected| {
            let end = ConnectionEnd {
                connection: Connection {
                    socket_id: 1,
                    netns: 1,
                    local: ([127, 0, 0, 1], local_port).into(),
                    remote: ([127, 0, 0, 1], 1).into(),
                    role: Some(Role::Source),
                    owner: None,
                    started_ns: None,
                    established_ns: None,
                    older_than_agent: false,
                    unmet: false,
                    open_lost: false,
                    shut_down,
                },
                totals: Totals::default(),
                reported: wellhead_common::maps::Traffic::default(),
                errno,
                state: None,
                lifecycle_only: false,
                initial_sequence: None,
            };
            assert_eq!(connect_failure(&end), expected);
        };
        check(111, 40_000, true, "connection_refused");
        check(110, 40_000, false, "timed_out");
        check(104, 40_000, false, "connection_reset");
        check(113, 40_000, false, "host_unreachable");
        check(101, 40_000, false, "network_unreachable");
        check(0, 40_000, true, "aborted");
        check(0, 0, false, "address_not_available");
        check(0, 40_000, false, "_OTHER");
        check(105, 40_000, false, "_OTHER");
    }
}
