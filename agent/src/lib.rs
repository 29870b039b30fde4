//! Wellhead: a node telemetry agent. `ARCHITECTURE.md` is the map; modules are listed in the order data flows.

pub mod counters;
pub mod events;
pub mod kernel;
