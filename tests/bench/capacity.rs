//! How much the agent can take, and what memory that takes.

mod loss;
mod memory;

use anyhow::Result;

pub(crate) fn measure() -> Result<()> {
    memory::of_a_start()?;
    memory::of_connections()?;
    memory::of_containers()?;
    memory::of_a_node()?;
    loss::by_rate()
}
