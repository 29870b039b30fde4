//! `wellhead resolver`: watches the cluster once and tells many agents what has which address.
//!
//! One task, the *publisher*, owns the table of all objects. What changes it writes down once, as an encoded message with
//! the next version, on the *board*: a log of bounded length that every client's *feed* reads at its own pace. A feed is
//! no more than a position in that log. Who is new or has fallen behind the log is told a snapshot, which is encoded once
//! for all who want one at about the same time.
//!
//! Several resolvers know nothing of each other; each process has an epoch of its own.

mod board;
mod error;
mod feed;
mod log;
mod metrics;
mod publisher;
mod readiness;
mod run;
mod server;
mod service;
mod settings;
mod snapshot;
mod stats;
mod table;
#[cfg(test)]
mod tests;

pub use self::error::ResolverError;
pub use self::run::run;
pub use self::settings::ResolverSettings;
