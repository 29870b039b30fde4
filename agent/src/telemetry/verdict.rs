//! Where to look when a connection is slow or broken.

use crate::events::ConnectionEnd;

/// What waited for less is not slow, milliseconds.
const WORTH_TELLING: u64 = 100;
/// One in so many segments sent again is much, but not of a handful.
const LOSSY: u64 = 20;
const LEAST_LOSSES: u64 = 3;

/// Of an attempt that failed: `network` where nobody answered, `peer` where it refused, `local` where it never left here, or this node
/// dropped a packet of it for a reason of its own.
pub(super) fn of_failure(error: &str, drop_reason: Option<&str>) -> Option<&'static str> {
    // A firewall may also answer in the peer's place. Before 5.17 there are functions for reasons, and only this one is known to be one.
    let is_filtered = matches!(drop_reason, Some("NETFILTER_DROP" | "nf_hook_slow"));
    let is_reason = |reason: &str| !reason.contains(|letter: char| letter.is_ascii_lowercase());
    Some(match error {
        _ if is_filtered => "local",
        "timed_out" if drop_reason.is_some_and(is_reason) => "local",
        "timed_out" | "host_unreachable" | "network_unreachable" => "network",
        "connection_refused" | "connection_reset" => "peer",
        "address_not_available" | "aborted" => "local",
        _ => return None,
    })
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
        assert_eq!(of_failure("timed_out", None), Some("network"));
        assert_eq!(of_failure("timed_out", Some("IP_RPFILTER")), Some("local"));
        assert_eq!(of_failure("timed_out", Some("packet_rcv")), Some("network"));
        let refused = |reason| of_failure("connection_refused", reason);
        assert_eq!(refused(None), Some("peer"));
        assert_eq!(refused(Some("NO_SOCKET")), Some("peer"));
        assert_eq!(refused(Some("NETFILTER_DROP")), Some("local"));
        assert_eq!(of_failure("aborted", None), Some("local"));
        assert_eq!(of_failure("_OTHER", None), None);
    }
}
