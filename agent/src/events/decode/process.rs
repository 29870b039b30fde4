//! Records of processes.

use wellhead_common::record::{self, exec_flag};

use super::{DecodeError, known, read_u32, text};
use crate::events::process::{
    Exec, Exit, ExitStatus, Fork, Found, Freed, HitLimit, OomKill, PathNames, ProcessId,
    VictimMemory,
};
use crate::events::text::until_nul;

/// Bit of the status of `wait4(2)`: a core file was written.
const CORE: u32 = 0x80;

pub(super) fn fork(record: &record::Fork) -> Fork {
    Fork {
        child: id(record.pid, record.start_ns),
        parent: id(record.parent_pid, record.parent_start_ns),
    }
}

pub(super) fn exec(bytes: &[u8]) -> Result<Exec<'_>, DecodeError> {
    if bytes.len() < record::EXEC_FIXED {
        return Err(DecodeError::Short {
            actual: bytes.len(),
            needed: record::EXEC_FIXED,
        });
    }
    let word = |field: usize| read_u32(bytes, field);
    let long = |field: usize| -> Result<u64, DecodeError> {
        let bytes = text(bytes, field, 8)?;
        Ok(bytes.try_into().map(u64::from_ne_bytes).unwrap_or_default())
    };
    let flags = word(offset::FLAGS)?;
    let is = |flag: u32| flags & flag != 0;
    let mut at = record::EXEC_FIXED;
    let mut next = |length: usize| {
        let length = word(length)? as usize;
        let found = text(bytes, at, length)?;
        at += length;
        Ok(found)
    };
    let file_name = next(offset::FILE_NAME_LENGTH)?;
    let interpreter = next(offset::INTERPRETER_LENGTH)?;
    let executable = next(offset::EXECUTABLE_LENGTH)?;
    let directory = next(offset::DIRECTORY_LENGTH)?;
    let arguments = next(offset::ARGUMENTS_LENGTH)?;
    let start_ns = long(offset::START)?;
    // Of a kernel that tells no start times no paths are known either.
    let no_paths = start_ns == 0;
    Ok(Exec {
        process: id(word(offset::PID)?, start_ns),
        parent: id(word(offset::PARENT_PID)?, long(offset::PARENT_START)?),
        own_pid: Some(word(offset::OWN_PID)?).filter(|pid| *pid != 0),
        real_uid: word(offset::UID)?,
        uid: word(offset::EFFECTIVE_UID)?,
        gid: word(offset::EFFECTIVE_GID)?,
        permitted: long(offset::PERMITTED)?,
        comm: until_nul(text(bytes, offset::COMM, wellhead_common::limits::COMM)?),
        file_name,
        file_name_truncated: is(exec_flag::FILE_NAME_TRUNCATED),
        interpreter,
        executable: PathNames {
            names: executable,
            is_cut: is(exec_flag::EXECUTABLE_TRUNCATED) || executable.is_empty(),
        },
        is_unlinked: is(exec_flag::EXECUTABLE_UNLINKED),
        is_in_memory: is(exec_flag::EXECUTABLE_IN_MEMORY),
        in_user_namespace: is(exec_flag::IN_USER_NAMESPACE),
        directory: PathNames {
            names: directory,
            is_cut: is(exec_flag::DIRECTORY_TRUNCATED) || (no_paths && directory.is_empty()),
        },
        arguments,
        arguments_truncated: is(exec_flag::ARGUMENTS_TRUNCATED),
        arguments_unreadable: is(exec_flag::ARGUMENTS_UNREADABLE),
    })
}

/// Where the fields of an exec record are; it is too long to copy whole.
mod offset {
    use std::mem::offset_of;

    use wellhead_common::record::Exec;

    pub(super) const PID: usize = offset_of!(Exec, pid);
    pub(super) const PARENT_PID: usize = offset_of!(Exec, parent_pid);
    pub(super) const OWN_PID: usize = offset_of!(Exec, own_pid);
    pub(super) const UID: usize = offset_of!(Exec, uid);
    pub(super) const EFFECTIVE_UID: usize = offset_of!(Exec, effective_uid);
    pub(super) const EFFECTIVE_GID: usize = offset_of!(Exec, effective_gid);
    pub(super) const FLAGS: usize = offset_of!(Exec, flags);
    pub(super) const START: usize = offset_of!(Exec, start_ns);
    pub(super) const PARENT_START: usize = offset_of!(Exec, parent_start_ns);
    pub(super) const PERMITTED: usize = offset_of!(Exec, permitted);
    pub(super) const COMM: usize = offset_of!(Exec, comm);
    pub(super) const FILE_NAME_LENGTH: usize = offset_of!(Exec, file_name_length);
    pub(super) const INTERPRETER_LENGTH: usize = offset_of!(Exec, interpreter_length);
    pub(super) const EXECUTABLE_LENGTH: usize = offset_of!(Exec, executable_length);
    pub(super) const DIRECTORY_LENGTH: usize = offset_of!(Exec, directory_length);
    pub(super) const ARGUMENTS_LENGTH: usize = offset_of!(Exec, arguments_length);
}

pub(super) fn exit(record: &record::Exit) -> Exit {
    let status = ExitStatus::from_wait_status(record.status);
    Exit {
        process: id(record.pid, record.start_ns),
        parent_pid: record.parent_pid,
        uid: record.effective_uid,
        comm: record.comm.bytes(),
        status,
        dumped_core: matches!(status, ExitStatus::Signal(_)) && record.status & CORE != 0,
        usage: record.usage,
        signals: record.signals,
    }
}

pub(super) fn freed(record: &record::Freed) -> Freed {
    Freed {
        process: id(record.pid, record.start_ns),
        usage: record.usage,
    }
}

pub(super) fn found(record: &record::Task) -> Found {
    Found {
        process: id(record.pid, record.start_ns),
        parent: id(record.parent_pid, record.parent_start_ns),
        comm: record.comm.bytes(),
        only_forked: record.only_forked != 0,
        real_uid: record.uid,
        permitted: record.permitted,
    }
}

pub(super) fn oom_kill(record: &record::OomKill) -> OomKill {
    let victim = &record.victim;
    let start_ns = known(victim.start_ns);
    OomKill {
        pid: victim.pid,
        start_ns,
        comm: victim.comm.bytes(),
        memory: start_ns.map(|_| VictimMemory {
            anonymous: victim.anonymous_bytes,
            file: victim.file_bytes,
            shared: victim.shared_bytes,
        }),
        limit: known(victim.limit_bytes).map(|limit| HitLimit {
            level: victim.limit_level,
            charged: victim.charged_bytes,
            limit,
        }),
    }
}

fn id(pid: u32, start_ns: u64) -> ProcessId {
    ProcessId { pid, start_ns }
}
