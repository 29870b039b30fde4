//! The keys of TLS, which are the same wherever it is spoken.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The agent as a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTls {
    /// PEM file of the authorities that may have signed the server's certificate, for `https`.
    #[schemars(extend("x-default" = "the system's authorities"))]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the agent's own certificate, and those that lead to its authority, for a server that wants one (mutual TLS).
    #[schemars(extend("x-default" = "none"))]
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key. Both are set, or none.
    #[schemars(extend("x-default" = "none"))]
    pub key_file: Option<PathBuf>,
}

/// The agent, or the resolver, as a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file of the server's certificate, and those that lead to its authority.
    #[schemars(extend("x-default" = "none: no TLS"))]
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key. Both are set, or none.
    #[schemars(extend("x-default" = "none"))]
    pub key_file: Option<PathBuf>,
    /// PEM file of the authorities that clients' certificates must be signed by (mutual TLS).
    #[schemars(extend("x-default" = "none: clients need no certificate"))]
    pub client_ca_file: Option<PathBuf>,
}
