//! Who tells processes to end.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_probe_read_kernel,
    },
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use wellhead_common::maps::{SignalSeen, Signals};

use crate::{
    exits::SIGNAL_GROUP_EXIT,
    kernel::{Struct, captured, current_comm, field, offset, prototype, task_cgroup_id},
    oom, state,
};

const SIGHUP: u64 = 1;
const SIGINT: u64 = 2;
const SIGQUIT: u64 = 3;
const SIGKILL: u64 = 9;
const SIGTERM: u64 = 15;

/// Those that programs may answer, and that ask them to end.
const ASK: u64 = 1 << SIGHUP | 1 << SIGINT | 1 << SIGQUIT | 1 << SIGTERM;
/// Those that end nobody: SIGCHLD to SIGURG, SIGWINCH; and the two that the C library keeps for itself.
const HARMLESS: u64 = 0b111_1111 << 17 | 1 << 28 | 1 << 32 | 1 << 33;

/// `TRACE_SIGNAL_DELIVERED` and `TRACE_SIGNAL_IGNORED` of `include/trace/events/signal.h`; what is neither is one too many.
const DELIVERED: u64 = 0;
const IGNORED: u64 = 1;

/// The last signal (`_NSIG`).
const LAST: u64 = 64;

/// What stands for a `struct kernel_siginfo` of the kernel's (`SEND_SIG_PRIV`, `include/linux/sched/signal.h`).
const PRIVILEGED: u64 = 1;

/// `si_code` of `kill(2)` (`SI_USER`).
const BY_KILL: i32 = 0;
/// Of what the kernel sends for a process that asked it to: `SI_TIMER`, `SI_MESGQ`. What else is below 0 only processes send, and what
/// is above 0 only the kernel does (or a process to itself).
const FOR_TIMER: i32 = -2;
const FOR_QUEUE: i32 = -3;

/// The last signals that processes got from others or themselves. What no process sent is not here.
#[map]
static SIGNALS: LruHashMap<u32, Signals> = LruHashMap::with_max_entries(2048, 0);

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`, for each signal
/// sent on the machine: most are none that ends anybody, and left without calling a helper.
#[btf_tracepoint(function = "signal_generate")]
pub(crate) fn signal_generate(context: BtfTracePointContext) -> i32 {
    let number = context.arg::<u64>(0) & 0xff;
    let result = context.arg::<u64>(4) as u32 as u64;
    let asks = is_among(ASK, number);
    // Who asks a process that does not listen, as the first of a PID namespace without a handler, has asked it too.
    if number > LAST
        || is_among(HARMLESS, number)
        || result != DELIVERED && !(result == IGNORED && asks)
    {
        return 0;
    }
    let task: Struct = context.arg(2);
    let info: u64 = context.arg(1);
    // SAFETY: `task` is a `struct task_struct`.
    let pid: u32 = unsafe { field(task, &offset::TASK_TGID) };
    let sender_pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let by_kernel = info == PRIVILEGED;
    if by_kernel && number == SIGKILL && prototype::VICTIM_IS_TASK.load() == 0 {
        // SAFETY: as above.
        unsafe { oom::note(task) };
    }
    // SAFETY: as above.
    let end = unsafe { decided_end(task) };
    if end.is_some_and(|signal| result == IGNORED || signal != number) {
        return 0;
    }
    let Some(now) = state::working() else {
        return 0;
    };
    let code = if by_kernel {
        None
    } else {
        code_by_process(info, number, sender_pid == pid)
    };
    let Some(code) = code else {
        forget(pid, number, asks);
        return 0;
    };
    // SAFETY: as above.
    let cgroup_id = unsafe { task_cgroup_id(task) };
    if !captured(cgroup_id) {
        return 0;
    }
    let seen = SignalSeen {
        sent_ns: now,
        // SAFETY: a helper without arguments.
        sender_cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        sender_pid,
        sender_uid: bpf_get_current_uid_gid() as u32,
        signal: number as u32,
        code,
        sender: current_comm(),
    };
    remember(pid, &seen, asks);
    0
}

/// `si_code` of a signal, if a process sent it: who runs.
#[inline(always)]
fn code_by_process(info: u64, number: u64, to_itself: bool) -> Option<i32> {
    let at = info.wrapping_add(u64::from(offset::SIGINFO_CODE.load()));
    // SAFETY: the helper reads nothing that is not there.
    let Ok(code) = (unsafe { bpf_probe_read_kernel(at as *const i32) }) else {
        // There is none (`SEND_SIG_NOINFO`, 0: newer verifiers take that for impossible). So the kernel tells who wrote where nobody
        // reads; and so it sends for others: for a parent that died, or who wrote to `cgroup.kill`.
        return (!to_itself || number == SIGKILL).then_some(BY_KILL);
    };
    (code <= BY_KILL && code != FOR_TIMER && code != FOR_QUEUE).then_some(code)
}

/// Whether a signal is one of a set with a bit for each; the last has none.
#[inline(always)]
fn is_among(set: u64, number: u64) -> bool {
    number < LAST && set >> number & 1 == 1
}

/// The signal that ends a process, 0 if it ends by itself; `None` if its end is not decided. What comes then changes nothing: newer
/// kernels ignore it, older ones (before 5.17) queue it all the same. The signal that decides it is told of when it has.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
unsafe fn decided_end(task: Struct) -> Option<u64> {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        let signal: Struct = field(task, &offset::TASK_SIGNAL);
        let flags: u32 = field(signal, &offset::SIGNAL_FLAGS);
        let status: u32 = field(signal, &offset::SIGNAL_EXIT_CODE);
        (flags & SIGNAL_GROUP_EXIT != 0).then_some(u64::from(status & 0x7f))
    }
}

#[inline(always)]
fn remember(pid: u32, seen: &SignalSeen, asks: bool) {
    let Some(known) = SIGNALS.get_ptr_mut(&pid) else {
        let mut signals = Signals::default();
        if asks {
            signals.asked = *seen;
        } else {
            signals.forced = *seen;
        }
        // It makes room for itself.
        let _never_full = SIGNALS.insert(&pid, &signals, u64::from(BPF_ANY));
        return;
    };
    // SAFETY: the look-up returned a valid entry. Of two signals at the same moment either may stay.
    unsafe {
        if asks {
            (*known).asked = *seen;
        } else {
            (*known).forced = *seen;
        }
    }
}

/// Forgets who sent a signal of this number last: now the kernel did.
#[inline(always)]
fn forget(pid: u32, number: u64, asks: bool) {
    let Some(known) = SIGNALS.get_ptr_mut(&pid) else {
        return;
    };
    // SAFETY: the look-up returned a valid entry. Of two signals at the same moment either may stay.
    unsafe {
        let last = if asks {
            &raw mut (*known).asked
        } else {
            &raw mut (*known).forced
        };
        if u64::from((*last).signal) == number {
            (*last).sent_ns = 0;
        }
    }
}

/// Writes what is known of a process that ends, and forgets it.
#[inline(always)]
pub(crate) fn take(pid: u32, signals: &mut Signals) {
    match SIGNALS.get_ptr(&pid) {
        Some(known) => {
            // SAFETY: the look-up returned a valid entry.
            *signals = unsafe { *known };
            let _absent_is_fine = SIGNALS.remove(&pid);
        }
        None => *signals = Signals::default(),
    }
}
