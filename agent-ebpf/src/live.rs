//! What is there already: iterators over tasks and over the sockets they hold. The daemon runs them when it starts, and
//! that over connections again and again, to count what open ones carry.
//!
//! What they find goes into the same rings as everything else, so it is told in order: a connection whose entry is still
//! in the map after its snapshot got its place in the ring ends after it.

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    helpers::generated::bpf_sock_from_file,
};
use wellhead_common::{
    counts,
    maps::{Connection, Process, Traffic, state},
    record::{Kind, Task, TcpClose, TcpListener, role, tcp_flag},
};

use crate::{
    kernel::{Struct, captured, field, offset, process_start, task_cgroup_id, task_comm},
    listeners::{LISTENERS, write_listener},
    output::{NETWORK, PROCESS, count, write_header},
    process::PF_KTHREAD,
    retransmits,
    socket::{
        Ends, id, listener_key, local_port, process_of, sock_cgroup_id, tcp_family, tcp_sock,
        traffic, write_ends,
    },
    state as steering,
    tcp::{
        CONNECTIONS, TCP_ESTABLISHED, TCP_LISTEN, TCP_SYN_SENT, UNREPORTED, write_connection,
        write_totals,
    },
};

/// States of `include/net/tcp_states.h` in which a connection is open, beside ESTABLISHED: FIN_WAIT1, FIN_WAIT2,
/// CLOSE_WAIT, LAST_ACK and CLOSING.
const CLOSING_STATES: u32 = 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// `PF_FORKNOEXEC` of `include/linux/sched.h`: forked, and nothing executed since.
const PF_FORKNOEXEC: u32 = 0x40;

/// What an iterator is called with (`struct bpf_iter__task_file`, `kernel/bpf/task_iter.c`).
#[repr(C)]
pub(crate) struct TaskFile {
    meta: u64,
    task: Struct,
    fd: u64,
    file: Struct,
}

/// Likewise `struct bpf_iter__task`.
#[repr(C)]
pub(crate) struct OneTask {
    pub(crate) meta: Struct,
    pub(crate) task: Struct,
}

/// Likewise `struct bpf_iter__tcp` (`net/ipv4/tcp_ipv4.c`).
#[repr(C)]
pub(crate) struct TcpSocket {
    meta: u64,
    socket: Struct,
}

/// Processes.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) fn live_tasks(context: &OneTask) -> i32 {
    let task = context.task;
    if task.is_null() {
        return 0;
    }
    let Some(now) = steering::working() else {
        return 0;
    };
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        let pid: u32 = field(task, &offset::TASK_TGID);
        let is_thread = field::<u32>(task, &offset::TASK_PID) != pid;
        if is_thread || field::<u32>(task, &offset::TASK_FLAGS) & PF_KTHREAD != 0 {
            return 0;
        }
        let cgroup_id = task_cgroup_id(task);
        if !captured(cgroup_id) {
            return 0;
        }
        let told = PROCESS.put::<Task>(Kind::Task, |record| {
            let about = (now, cgroup_id);
            write_header(&mut record.header, Kind::Task, size_of::<Task>(), about);
            let parent: Struct = field(task, &offset::TASK_REAL_PARENT);
            let credentials: Struct = field(task, &offset::TASK_CRED);
            record.pid = pid;
            record.parent_pid = field(parent, &offset::TASK_TGID);
            record.uid = field(credentials, &offset::CRED_UID);
            record.only_forked =
                u32::from(field::<u32>(task, &offset::TASK_FLAGS) & PF_FORKNOEXEC != 0);
            record.start_ns = field(task, &offset::TASK_START);
            record.parent_start_ns = process_start(parent);
            record.permitted = field(credentials, &offset::CRED_PERMITTED);
            record.comm = task_comm(task);
        });
        if !told {
            count(counts::lost(Kind::Task));
        }
    }
    0
}

/// Listening sockets of all network namespaces: who they belong to decides which end an open connection is.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) fn live_listeners(context: &TaskFile) -> i32 {
    if let Some((sock, task)) = held_socket(context)
        && tcp_family(sock).is_some()
        && state(sock) == TCP_LISTEN
    {
        // SAFETY: `task` is a `struct task_struct`.
        listens(sock, &unsafe { process_of(task) });
    }
    0
}

/// Open connections of all network namespaces, and listening sockets with who waits there.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) fn live_connections(context: &TaskFile) -> i32 {
    let Some((sock, task)) = held_socket(context) else {
        return 0;
    };
    let Some(family) = tcp_family(sock) else {
        return 0;
    };
    // SAFETY: `task` is a `struct task_struct`.
    let owner = || unsafe { process_of(task) };
    if state(sock) == TCP_LISTEN {
        tell_queue(sock, family, owner());
    } else {
        visit(sock, family, owner);
    }
    0
}

/// Listeners, then open connections, of the network namespace of whoever opens the iterator: where the kernel does not
/// tell tracing programs the socket of a file (before 5.11). Whose they are stays unknown, but for their cgroup.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub(crate) fn live_sockets(context: &TcpSocket) -> i32 {
    // Half-open connections and those in TIME_WAIT have no whole socket.
    let Some(sock) = (!context.socket.is_null())
        .then(|| tcp_sock(context.socket))
        .flatten()
    else {
        return 0;
    };
    let Some(family) = tcp_family(sock) else {
        return 0;
    };
    if state(sock) == TCP_LISTEN {
        listens(sock, &Process::default());
        tell_queue(sock, family, Process::default());
    } else {
        visit(sock, family, Process::default);
    }
    0
}

/// The socket behind a task's file, if it is one.
#[inline(always)]
fn held_socket(context: &TaskFile) -> Option<(Struct, Struct)> {
    if context.task.is_null() || context.file.is_null() {
        return None;
    }
    // SAFETY: the helper returns null for files that are not sockets.
    let socket: Struct = unsafe { bpf_sock_from_file(context.file.cast_mut().cast()) }
        .cast_const()
        .cast();
    if socket.is_null() {
        return None;
    }
    // SAFETY: `socket` is a `struct socket`.
    let sock: Struct = unsafe { field(socket, &offset::SOCKET_SK) };
    (!sock.is_null()).then_some((sock, context.task))
}

/// Who listens, unless the socket was seen to begin to.
#[inline(always)]
fn listens(sock: Struct, who: &Process) {
    if steering::working().is_none() {
        return;
    }
    // SAFETY: `sock` is a `struct sock`.
    let port: u16 = unsafe { field(sock, &offset::SOCK_NUM) };
    let _known_better = LISTENERS.insert(&listener_key(sock, port), who, u64::from(BPF_NOEXIST));
}

/// Tells how many connections wait to be accepted. A socket that several processes hold is told for each of them.
#[inline(always)]
fn tell_queue(sock: Struct, family: u16, owner: Process) {
    let Some(now) = steering::working() else {
        return;
    };
    let (cgroup_id, kind) = (sock_cgroup_id(sock), Kind::TcpListener);
    if !captured(cgroup_id) {
        return;
    }
    // As for connections, the next snapshot is as good.
    let room = if NETWORK.is_filling_up() {
        None
    } else {
        NETWORK.room::<TcpListener>()
    };
    let Some(mut room) = room else {
        count(counts::DEFERRED);
        return;
    };
    let record = room.record();
    write_listener(record, (kind, now, cgroup_id), (sock, family), owner);
    record.syn_ack_retransmits = retransmits::seen(record.id).handshake;
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        record.queue = field(sock, &offset::SOCK_ACK_BACKLOG);
        record.limit = field(sock, &offset::SOCK_MAX_ACK_BACKLOG);
        record.drops = field(sock, &offset::SOCK_DROPS);
    }
    NETWORK.send(room, kind);
}

/// Tells what an open connection has carried, if this snapshot did not yet; or that an attempt is under way.
#[inline(always)]
fn visit(sock: Struct, family: u16, owner: impl FnOnce() -> Process) {
    let in_state = state(sock);
    let is_attempt = in_state == TCP_SYN_SENT;
    if !is_attempt && !is_open(in_state) {
        return;
    }
    let Some(now) = steering::working() else {
        return;
    };
    let cgroup_id = sock_cgroup_id(sock);
    if !captured(cgroup_id) {
        return;
    }
    let Some(tcp) = tcp_sock(sock) else { return };
    let (key, snapshot) = (id(sock), steering::get(state::SNAPSHOT) as u32);
    if CONNECTIONS.get_ptr(&key).is_none() && (is_attempt || !meet(key, sock, tcp, owner())) {
        return;
    }
    let Some(connection) = CONNECTIONS.get_ptr(&key) else {
        return;
    };
    // SAFETY: the look-up returned a valid entry; copied at once.
    let connection = unsafe { *connection };
    if connection.reported.snapshot == snapshot {
        return;
    }
    // A snapshot must not take the room of what cannot be told later.
    if NETWORK.is_filling_up() {
        count(counts::DEFERRED);
        return;
    }
    let ends = Ends {
        id: key,
        family,
        local_port: local_port(tcp),
    };
    let told = NETWORK.put_if::<TcpClose>(Kind::TcpSnapshot, |record| {
        let about = (now, cgroup_id);
        let kind = Kind::TcpSnapshot;
        write_header(&mut record.header, kind, size_of::<TcpClose>(), about);
        write_connection(&mut record.socket, &connection);
        write_ends(&mut record.socket, sock, &ends);
        write_totals(record, sock, tcp, &connection);
        record.state = in_state as u32;
        if is_attempt {
            // Nothing of it is counted, and what is known of it is its state changes' to write. If it has ended since, that is told.
            return CONNECTIONS.get_ptr(&key).is_some();
        }
        let next = Connection {
            flags: connection.flags & !tcp_flag::OPEN_LOST,
            reported: Traffic {
                snapshot,
                ..record.traffic
            },
            ..connection
        };
        // Fails if the connection has ended since: then its end tells everything.
        CONNECTIONS
            .insert(&key, &next, u64::from(BPF_EXIST))
            .is_ok()
    });
    if !told {
        count(counts::DEFERRED);
    }
}

/// Takes in a connection that was opened unseen; says whether it is in the map.
#[inline(always)]
fn meet(key: u64, sock: Struct, tcp: Struct, owner: Process) -> bool {
    let is_destination = LISTENERS
        .get_ptr(&listener_key(sock, local_port(tcp)))
        .is_some();
    let connection = Connection {
        started_ns: 0,
        established_ns: 0,
        owner,
        role: if is_destination {
            role::DESTINATION
        } else {
            role::SOURCE
        },
        error: 0,
        flags: tcp_flag::OLDER_THAN_AGENT,
        // What it carried before is not counted.
        reported: traffic(sock, tcp, key, UNREPORTED.snapshot),
    };
    if CONNECTIONS
        .insert(&key, &connection, u64::from(BPF_NOEXIST))
        .is_err()
    {
        return false;
    }
    // It may have ended before it was in the map, and then nobody takes it out.
    if is_open(state(sock)) {
        return true;
    }
    let _absent_is_fine = CONNECTIONS.remove(&key);
    false
}

#[inline(always)]
fn state(sock: Struct) -> i32 {
    // SAFETY: `sock` is a `struct sock`.
    i32::from(unsafe { field::<u8>(sock, &offset::SOCK_STATE) })
}

#[inline(always)]
fn is_open(state: i32) -> bool {
    state == TCP_ESTABLISHED || (state < 16 && CLOSING_STATES >> state & 1 == 1)
}
