//! Typed events decoded from kernel records.
//!
//! Decoding trusts nothing: a record may be truncated or garbage (it may come from a file, or from a ring of another
//! version), so every length is checked and every failure has a name.

mod decode;
pub mod dns;
mod model;
mod process;
mod spilled;
mod text;

pub use self::{
    decode::{DecodeError, decode, written},
    model::{
        Because, Body, Cgroup, Connection, ConnectionEnd, Event, Limited, Listener, Role,
        SocketOwner, Totals,
    },
    process::{
        Exec, Exit, ExitStatus, Fork, Found, Freed, HitLimit, OomKill, PathNames, ProcessId,
        VictimMemory,
    },
    spilled::{Spilled, SpilledWhat},
    text::executable_name,
};
