//! Receivers that are not ours, as `cargo xtask test receivers` gets them: an OpenTelemetry Collector, rotel and VictoriaMetrics
//! are sent to, Prometheus scrapes, and all must know the same.
//!
//! Where they are comes from the environment. Without it every test says so and is skipped, and what takes the Collector where
//! only that is missing.

#[cfg(test)]
mod numbers;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod query;
#[cfg(test)]
mod roads;
#[cfg(test)]
mod server;
#[cfg(test)]
mod signals;
#[cfg(test)]
#[expect(
    dead_code,
    unused_imports,
    reason = "the end-to-end tests need more of it"
)]
#[path = "../e2e/support/mod.rs"]
mod support;
