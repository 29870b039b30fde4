//! The Prometheus endpoint's formats, `OpenMetrics` 1.0.0 and text 1.0.0 and 0.0.4, over one snapshot.
//!
//! Samples carry the workload's labels; everything about the agent itself is in one `target_info`.

pub mod escaping;
mod labels;
mod lines;
pub mod names;
pub mod negotiation;
pub mod page;
pub mod reference;
mod samples;
pub mod standard;
mod target;

#[cfg(test)]
mod tests;
