//! What a resolver tells: the protocol, both its directions, and the client that asks.
//!
//! The server, which needs everything here but the client, is `crate::resolver`.

mod client;
mod error;
mod read;
mod session;
mod settings;
mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod uid;
mod write;

pub mod protocol;

pub use self::client::ResolverClient;
pub use self::error::{RemoteError, Violation};
pub use self::read::{BatchReader, Change};
pub use self::settings::RemoteSettings;
pub use self::status::RemoteStatus;
pub use self::write::{BatchWriter, Told};
