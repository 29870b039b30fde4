//! Who is killed to free memory, and whose limit was hit.

use aya_ebpf::{
    Global,
    bindings::BPF_ANY,
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use wellhead_common::{
    fields::ABSENT,
    record::{Kind, OomKill, Victim},
};

use crate::{
    kernel::{
        Struct, address, bytes, captured, field, field_by_helper, offset, present, process_start,
        prototype, task_cgroup_id, task_comm,
    },
    output::{PROCESS, write_header},
    process::lost,
    state,
    usage::{ANONYMOUS_PAGES, FILE_PAGES, SHARED_PAGES, memory_of},
};

/// `memory_cgrp_id` of `enum cgroup_subsys_id`; [`ABSENT`] where the kernel has none.
#[unsafe(no_mangle)]
static MEMORY_CONTROLLER: Global<u32> = Global::new(ABSENT);

/// Levels of cgroups that may have a limit, from the victim's own up.
const LEVELS: u32 = 12;
/// A limit was hit if fewer pages than this were left, or than one in [`SHARE`] of them: others may free some meanwhile.
const SLACK: u64 = 64;
const SHARE: u64 = 128;

/// Victims of the moment, by process id, for kernels that name a victim by its pid alone (before 6.8): just before they do
/// so they send it a signal.
#[map]
static VICTIMS: LruHashMap<u32, Noted> = LruHashMap::with_max_entries(64, 0);

/// A victim and its cgroup.
#[derive(Clone, Copy)]
#[repr(C)]
struct Noted {
    cgroup_id: u64,
    victim: Victim,
}

/// `mark_victim(int pid)`; since 6.8 `mark_victim(struct task_struct *task, uid_t uid)`
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn mark_victim(context: BtfTracePointContext) -> i32 {
    let Some(now) = state::working() else {
        return 0;
    };
    let mut noted = Noted {
        cgroup_id: 0,
        victim: Victim::default(),
    };
    if prototype::VICTIM_IS_TASK.load() != 0 {
        // SAFETY: the argument is a `struct task_struct`.
        unsafe { look_at(context.arg(0), &mut noted) };
    } else {
        let pid = context.arg::<u64>(0) as u32;
        match VICTIMS.get_ptr(&pid) {
            // SAFETY: the look-up returned a valid entry.
            Some(known) => noted = unsafe { *known },
            None => noted.victim.pid = pid,
        }
        let _absent_is_fine = VICTIMS.remove(&pid);
    }
    if !captured(noted.cgroup_id) && noted.cgroup_id != 0 {
        return 0;
    }
    let sent = PROCESS.put::<OomKill>(Kind::OomKill, |record| {
        let about = (now, noted.cgroup_id);
        write_header(
            &mut record.header,
            Kind::OomKill,
            size_of::<OomKill>(),
            about,
        );
        record.victim = noted.victim;
    });
    if !sent {
        lost(Kind::OomKill, noted.cgroup_id, noted.victim.comm, 0);
    }
    0
}

/// Remembers who gets the signal that kills victims. Others that get it so are forgotten as newer ones come.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
pub(crate) unsafe fn note(task: Struct) {
    let mut noted = Noted {
        cgroup_id: 0,
        victim: Victim::default(),
    };
    // SAFETY: as said.
    unsafe { look_at(task, &mut noted) };
    let _never_full = VICTIMS.insert(&noted.victim.pid, &noted, u64::from(BPF_ANY));
}

/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
unsafe fn look_at(task: Struct, noted: &mut Noted) {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        noted.cgroup_id = task_cgroup_id(task);
        let victim = &mut noted.victim;
        victim.pid = field(task, &offset::TASK_TGID);
        victim.start_ns = process_start(task);
        victim.comm = task_comm(task);
        let memory: Struct = field(task, &offset::TASK_MM);
        if !memory.is_null() {
            victim.anonymous_bytes = memory_of(memory, ANONYMOUS_PAGES);
            victim.file_bytes = memory_of(memory, FILE_PAGES);
            victim.shared_bytes = memory_of(memory, SHARED_PAGES);
        }
        find_limit(task, victim);
    }
}

/// Finds whose limit leaves no room.
#[inline(always)]
unsafe fn find_limit(task: Struct, victim: &mut Victim) {
    let controller = MEMORY_CONTROLLER.load();
    if controller == ABSENT || !present(&offset::MEMCG_CHARGED) {
        return;
    }
    // SAFETY: the array has an entry for each controller; what follows is read by helper.
    let mut counter = unsafe {
        let set: Struct = field(task, &offset::TASK_CGROUPS);
        let all = address(set, &offset::CSS_SET_SUBSYSTEMS);
        let group = all
            .add(controller as usize * size_of::<u64>())
            .cast::<u64>()
            .read_volatile();
        group
            .wrapping_add(u64::from(offset::MEMCG_CHARGED.load()))
            .wrapping_sub(u64::from(offset::COUNTER_CHARGED.load()))
    };
    for level in 0..LEVELS {
        let charged = field_by_helper(counter, &offset::COUNTER_CHARGED);
        let limit = field_by_helper(counter, &offset::COUNTER_LIMIT);
        if charged + SLACK + limit / SHARE >= limit && limit != 0 {
            victim.charged_bytes = bytes(charged);
            victim.limit_bytes = bytes(limit);
            victim.limit_level = level;
            return;
        }
        counter = field_by_helper(counter, &offset::COUNTER_PARENT);
        if counter == 0 {
            return;
        }
    }
}
