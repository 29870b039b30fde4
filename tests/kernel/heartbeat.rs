//! Programs that no agent attends any more.

use std::os::unix::fs::MetadataExt as _;

use anyhow::{Result, ensure};
use wellhead_tests::pinned::set_unattended;

use crate::restart::{Bench, RING, generations};

/// When nobody attended them for too long they stand still: what happens then is neither told nor counted as lost. The next
/// agent that comes too late does not take them over.
pub(crate) fn stands_still() -> Result<()> {
    let bench = Bench::new("heartbeat")?;
    let state = bench.map("STATE");
    let first = bench.agent("new", RING)?.ready()?;
    bench.load()?;
    first.has_counted(1)?;
    first.kill();

    // A load while the programs stand still. An agent that finds them at work again hears nothing of it.
    set_unattended(&state, true)?;
    bench.load()?;
    set_unattended(&state, false)?;
    let maps = std::fs::metadata(&state)?.ino();
    let second = bench.agent("new", RING)?.ready()?;
    let found = second.has_counted(0)?;
    assert_eq!(found["lost"], 0, "{found}");
    assert_eq!(found["failures"], 0, "{found}");
    assert_eq!(std::fs::metadata(&state)?.ino(), maps, "adopted");
    // It keeps them at work.
    bench.load()?;
    second.has_counted(1)?;
    second.kill();

    // What the programs still told before they stood still is given up with them.
    bench.load()?;
    set_unattended(&state, true)?;
    bench.load()?;
    let third = bench.agent("new", RING)?.ready()?;
    let found = third.has_counted(0)?;
    assert_eq!(found["lost"], 0, "{found}");
    ensure!(
        std::fs::metadata(&state)?.ino() != maps,
        "the old maps are still there"
    );
    assert_eq!(generations(&bench)?, ["1"], "anew");
    bench.load()?;
    third.has_counted(1)?;
    Ok(())
}
