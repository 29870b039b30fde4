//! What: the catalogue of metrics, the series store, and the forms exporters read.

pub mod catalogue;
pub mod handle;
pub mod snapshot;
pub mod span;
pub mod store;
