//! Wellhead: a node telemetry agent. `ARCHITECTURE.md` is the map; modules are listed in the order data flows.

pub mod kernel;

pub mod events;

pub mod identity;

pub mod telemetry;

pub mod policy;

pub mod self_telemetry;

pub mod export;

pub mod admin;

pub mod recording;

pub mod daemon;

pub mod resolver;

pub mod cli;

// Leaves: whatever imports them, they import nothing of the above.

mod aged_map;

mod causes;

pub mod config;

pub mod counters;

mod file_stamp;

mod grpc_status;

mod hash;

mod lookup;

mod memory;

mod own_span;

mod printable;

mod raw_codec;

mod renewable;

mod small_file;

pub mod supervised;

pub mod tls;
