//! Tests that need more than one file's private parts: requests against the readings and batches they come from, answers
//! against the specification's tables, clients against real servers, tasks against a paused clock.

mod delivery;
mod grpc;
mod http;
mod metrics;
mod outcome;
mod spans;
mod support;
mod transport;
