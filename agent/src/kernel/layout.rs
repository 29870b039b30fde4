//! What the running kernel's types look like to the programs: what differs between kernels, for comparing them.

use std::path::Path;

use serde::Serialize;
use wellhead_common::fields::ABSENT;

use super::{
    BtfError,
    btf::{Btf, VMLINUX},
    offsets::Offsets,
    programs::tracepoints,
};

/// Everything the programs are told of, or rely on.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Each row of the field table and its offset, if the kernel has the field.
    pub fields: Vec<(&'static str, Option<u32>)>,
    /// Each program's tracepoint and its arguments, if the kernel has the tracepoint.
    pub tracepoints: Vec<(&'static str, Option<Vec<Argument>>)>,
}

/// How a tracepoint passes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Argument {
    /// By its address.
    Pointer,
    /// As it is.
    Value,
}

impl Layout {
    /// Reads the kernel's BTF.
    ///
    /// # Errors
    /// There is none.
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        let btf = Btf::parse(Path::new(VMLINUX))?;
        let fields = Offsets::resolve(&btf).globals.into_iter();
        let tracepoints = tracepoints()
            .into_iter()
            .map(|name| (name, arguments(&btf, name)));
        Ok(Self {
            fields: fields
                .map(|(name, offset)| (name, (offset != ABSENT).then_some(offset)))
                .collect(),
            tracepoints: tracepoints.collect(),
        })
    }
}

fn arguments(btf: &Btf, tracepoint: &str) -> Option<Vec<Argument>> {
    let count = btf.tracepoint_arguments(tracepoint)?;
    (0..count)
        .map(|number| {
            let is_pointer = btf.argument_is_pointer(tracepoint, number)?;
            Some(if is_pointer {
                Argument::Pointer
            } else {
                Argument::Value
            })
        })
        .collect()
}
