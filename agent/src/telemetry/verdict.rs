//! Where to look when a connection is slow or broken.

use crate::events::ConnectionEnd;

/// What waited for less is not slow, milliseconds.
const WORTH_TELLING: u64 = 100;
/// One in so many segments sent again is much, but not of a handful.
const LOSSY: u64 = 20;
const LEAST_LOSSES: u64 = 3;

/// Of an attempt that failed: `network` where nobody answered, `peer` where it refused, `local` where it never left here, or this node
/// dropped a packet of it for a reason of its own.
pub(super) fn of_failure(
    error: &str,
    drop_reason: Option<&str>,
    end: &ConnectionEnd,
) -> Option<&'static str> {
    // A firewall may also answer in the peer's place. Before 5.17 there are functions for reasons, and only this one is known to be one.
    let is_filtered = matches!(drop_reason, Some("NETFILTER_DROP" | "nf_hook_slow"));
    let remote = end.connection.remote.ip();
    let is_here = remote.is_loopback() || remote == end.connection.local.ip();
    // Whoever gave up after the SYN was sent again had waited for an answer in vain.
    let got_no_answer = end.totals.retransmits > 0;
    Some(match error {
        _ if is_filtered => "local",
        "connection_refused" | "connection_reset" => "peer",
        "address_not_available" => "local",
        _ if drop_reason.is_some_and(is_of_this_node) => "local",
        "aborted" if !got_no_answer => "local",
        // Nothing is between the two: it is the listener, whose queue is full.
        "timed_out" | "aborted" if is_here => "peer",
        "timed_out" | "aborted" | "host_unreachable" | "network_unreachable" => "network",
        _ => return None,
    })
}

/// Whether a packet was dropped for something that is wrong here, and not because nobody has the address that it was for.
fn is_of_this_node(reason: &str) -> bool {
    let is_reason = !reason.contains(|letter: char| letter.is_ascii_lowercase());
    is_reason && !reason.starts_with("NEIGH_")
}

/// Of a connection that was open: by its error, else by what held it up for longest. `None` where nothing was wrong with it.
pub(super) fn of_end(end: &ConnectionEnd) -> Option<&'static str> {
    match end.errno {
        libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH => return Some("network"),
        libc::ECONNRESET | libc::EPIPE => return Some("peer"),
        libc::ECONNABORTED => return Some("local"),
        _ => {}
    }
    let totals = &end.totals;
    let limited = &totals.limited;
    let all = limited.busy + limited.receive_window + limited.send_buffer;
    let is_most = |part: u64| part >= WORTH_TELLING && part * 2 > all;
    if is_most(limited.receive_window) {
        return Some("peer");
    }
    if is_most(limited.send_buffer) {
        return Some("local");
    }
    let again = totals.retransmits;
    (again >= LEAST_LOSSES && again * LOSSY > totals.segments_sent).then_some("network")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Connection, Limited, Totals};

    fn end(errno: i32, limited: (u64, u64, u64), (again, sent): (u64, u64)) -> ConnectionEnd {
        let (busy, receive_window, send_buffer) = limited;
        ConnectionEnd {
            connection: Connection::like([127, 0, 0, 1].into(), 0, 80),
            totals: Totals {
                limited: Limited {
                    busy,
                    receive_window,
                    send_buffer,
                },
                retransmits: again,
                segments_sent: sent,
                ..Totals::default()
            },
            reported: wellhead_common::maps::Traffic::default(),
            errno,
            state: Some(crate::kernel::TcpState::Established),
            lifecycle_only: false,
            initial_sequence: None,
        }
    }

    #[test]
    fn ends_are_judged_by_error_then_by_what_held_them_up() {
        let check = |errno, limited, losses, expected| {
            assert_eq!(of_end(&end(errno, limited, losses)), expected);
        };
        check(0, (10_000, 0, 0), (0, 1_000), None);
        check(libc::ETIMEDOUT, (0, 900, 0), (0, 1), Some("network"));
        check(libc::ECONNRESET, (0, 0, 0), (9, 10), Some("peer"));
        check(libc::ECONNABORTED, (0, 0, 0), (0, 1), Some("local"));
        check(0, (100, 700, 0), (0, 1_000), Some("peer"));
        check(0, (0, 99, 0), (0, 1_000), None);
        check(0, (700, 700, 0), (0, 1_000), None);
        check(0, (100, 0, 300), (0, 1_000), Some("local"));
        check(0, (900, 0, 0), (51, 1_000), Some("network"));
        check(0, (900, 0, 0), (50, 1_000), None);
        check(0, (0, 0, 0), (2, 4), None);
    }

    #[test]
    fn failures_are_judged_by_their_type() {
        let check = |error, reason, remote: &str, again, expected| {
            let mut end = end(0, (0, 0, 0), (again, 2));
            end.connection.local = "192.0.2.1:40000".parse().unwrap();
            end.connection.remote = remote.parse().unwrap();
            let found = of_failure(error, reason, &end);
            assert_eq!(found, expected, "{error} {reason:?} {remote} {again}");
        };
        let [far, near, own] = ["198.51.100.1:80", "127.0.0.1:80", "192.0.2.1:80"];
        check("timed_out", None, far, 0, Some("network"));
        check("timed_out", None, near, 0, Some("peer"));
        check("timed_out", None, own, 0, Some("peer"));
        for (reason, expected) in [
            ("NETFILTER_DROP", "local"),
            ("nf_hook_slow", "local"),
            ("IP_INNOROUTES", "local"),
            ("NEIGH_FAILED", "network"),
            ("tcp_v4_rcv", "network"),
        ] {
            for error in ["timed_out", "host_unreachable", "network_unreachable"] {
                check(error, Some(reason), far, 0, Some(expected));
            }
            check("aborted", Some(reason), far, 2, Some(expected));
        }
        check("connection_refused", None, far, 0, Some("peer"));
        check(
            "connection_refused",
            Some("NO_SOCKET"),
            far,
            0,
            Some("peer"),
        );
        check(
            "connection_refused",
            Some("NETFILTER_DROP"),
            far,
            0,
            Some("local"),
        );
        check("aborted", None, far, 0, Some("local"));
        check("aborted", None, far, 1, Some("network"));
        check("aborted", None, near, 1, Some("peer"));
        check("address_not_available", None, far, 0, Some("local"));
        check("_OTHER", None, far, 0, None);
    }
}
