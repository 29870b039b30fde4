//! What attempts are told went wrong, before they end.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{Struct, address, field, offset},
    socket::{id, tcp_family},
    state,
    tcp::{CONNECTIONS, TCP_SYN_SENT},
};

/// `inet_sk_error_report(const struct sock *sk)`, since 5.14: an attempt goes wrong. Where a router or a firewall answers while
/// `connect(2)` is at work, the socket stays in SYN_SENT and its error is only queued (`tcp_v4_err`, net/ipv4/tcp_ipv4.c): it is
/// gone once it was asked for (`SO_ERROR`), which whoever does not wait in `connect(2)` does.
#[btf_tracepoint(function = "inet_sk_error_report")]
pub(crate) fn inet_sk_error_report(context: BtfTracePointContext) -> i32 {
    let sock: Struct = context.arg(0);
    // SAFETY: `sock` is a `struct sock`, and the entry a valid one.
    unsafe {
        let state: u8 = field(sock, &offset::SOCK_STATE);
        if i32::from(state) != TCP_SYN_SENT || tcp_family(sock).is_none() {
            return 0;
        }
        if state::working().is_none() || field::<u32>(sock, &offset::SOCK_ERRORS) == 0 {
            return 0;
        }
        let last: Struct = field(sock, &offset::SOCK_LAST_ERROR);
        let error: u32 = field(address(last, &offset::SKB_CB), &offset::ERROR_CB_ERRNO);
        if let Some(connection) = CONNECTIONS.get_ptr_mut(&id(sock)) {
            (*connection).error = error as u16;
        }
    }
    0
}
