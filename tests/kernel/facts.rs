//! What the running kernel looks like to the agent: offsets, prototypes, and what the verifier made of the programs. The
//! same on every machine with that kernel, so it can be compared with what it was.

use std::{env, fs};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use wellhead::kernel::Layout;
use wellhead_tests::{
    capture::{Tap, settings},
    report,
};

/// First argument of a test program that is to tell them.
const FLAG: &str = "--facts";

/// Reports them if the command line asks for them.
pub(crate) fn tell_if_asked() -> Result<bool> {
    if env::args().nth(1).as_deref() != Some(FLAG) {
        return Ok(false);
    }
    report::write(&json!({ "facts": facts()? }))?;
    Ok(true)
}

fn facts() -> Result<Value> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("the release")?;
    let Layout {
        fields,
        tracepoints,
    } = Layout::of_running_kernel()?;
    let fields = fields
        .into_iter()
        .map(|(name, offset)| (name.to_owned(), json!(offset)));
    let tracepoints = tracepoints
        .into_iter()
        .map(|(name, arguments)| (name.to_owned(), json!(arguments)));
    let tap = Tap::attach(&settings(None))?;
    let programs = tap.probes.programs.stats().into_iter().map(|program| {
        let costs = json!({
            "verified_instructions": program.verified_instructions,
            "translated_bytes": program.translated_bytes,
            "machine_code_bytes": program.machine_code_bytes,
        });
        (program.program.to_owned(), costs)
    });
    Ok(json!({
        "release": release.trim(),
        "fields": fields.collect::<Map<_, _>>(),
        "tracepoints": tracepoints.collect::<Map<_, _>>(),
        "programs": programs.collect::<Map<_, _>>(),
    }))
}
