//! What can go wrong between an agent and a resolver. Nothing of it ends the agent: what is known stays, and is asked for
//! again.

use prost::DecodeError;
use thiserror::Error;
use tonic::Status;

use crate::tls::TlsError;

/// Why a resolver cannot be asked, or stopped telling.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// Files of the TLS settings.
    #[error("kubernetes.resolver_tls")]
    Tls(#[from] TlsError),
    /// The URL, or what else tonic does not like.
    #[error("cannot set up the connection")]
    Setup(#[source] tonic::transport::Error),
    /// Nobody is there.
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    /// The resolver does not want to tell.
    #[error("the resolver refuses: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<Status>),
    /// The connection broke.
    #[error("the stream broke: {} ({:?})", .0.message(), .0.code())]
    Broken(Box<Status>),
    /// The resolver stopped.
    #[error("the resolver ended the stream")]
    Ended,
    /// Not even a heartbeat came.
    #[error("the resolver has been silent for too long")]
    Silent,
    /// What came is no message.
    #[error("the resolver sends what cannot be decoded")]
    Decode(#[source] DecodeError),
    /// What came is not what may come.
    #[error("the resolver breaks the protocol")]
    Protocol(#[from] Violation),
}

/// A message that may not come, or not now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Something came before the welcome, or a second one.
    #[error("a welcome has to come first, and once")]
    Welcome,
    /// The server speaks another protocol.
    #[error("it speaks version {theirs} of the protocol, this agent {ours}")]
    Version {
        /// What it speaks.
        theirs: u32,
        /// What is spoken here.
        ours: u32,
    },
    /// The server takes up what it was not asked to.
    #[error("it resumes what it never told")]
    Resumed,
    /// A snapshot that does not say what it is of.
    #[error("a snapshot has no position, or that of another epoch")]
    Position,
    /// Parts of a snapshot that did not begin, or deltas within one.
    #[error("parts of a snapshot and deltas are mixed up")]
    Order,
    /// A delta is missing.
    #[error("version {told} follows {known}")]
    Gap {
        /// What is known.
        known: u64,
        /// What was told next.
        told: u64,
    },
}
