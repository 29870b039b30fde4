//! A real server on loopback, followed by real clients.

mod feed;
mod serve;
mod simulation;
pub(super) mod support;
mod tls;
