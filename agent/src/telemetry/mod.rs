//! What: the catalogue of metrics, the series store, and the forms exporters read.

pub mod aggregate;
pub mod arguments;
mod capabilities;
pub mod catalogue;
pub mod container_events;
pub mod event_reference;
mod failure;
pub mod handle;
pub mod histogram;
pub mod live;
pub mod sampling;
pub(crate) mod signals;
pub mod snapshot;
pub mod span;
pub mod spans;
pub mod store;
mod verdict;
