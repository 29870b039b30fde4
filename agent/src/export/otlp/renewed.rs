//! A client that is made anew when the files of its certificates change, as they do where somebody renews them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{
    outcome::{Accepted, SendError},
    settings::SignalSettings,
    transport::{Client, Encoded, Transport, TransportError},
};
use crate::causes::chain;

/// What tells one content of a file from the next: device, inode, time of the last change, size. `None`: it is not there.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

/// A client, and the files it was made from.
pub(super) struct Renewed {
    settings: SignalSettings,
    stamps: Vec<Stamp>,
    client: Client,
}

impl Renewed {
    /// Prepares a client; see [`Client::new`].
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        // Before they are read: a change in between is noticed later.
        let stamps = stamps(settings);
        Ok(Self {
            client: Client::new(settings)?,
            settings: settings.clone(),
            stamps,
        })
    }

    /// Looks whether a file is another one than before. If what it holds now cannot be used, the client goes on with what it has.
    fn renew(&mut self) {
        let stamps = stamps(&self.settings);
        if stamps == self.stamps {
            return;
        }
        self.stamps = stamps;
        match Client::new(&self.settings) {
            Ok(client) => {
                self.client = client;
                tracing::info!("using renewed certificates for OTLP");
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "going on with the certificates there were before");
            }
        }
    }
}

impl Transport for Renewed {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        self.renew();
        self.client.send(request).await
    }
}

fn stamps(settings: &SignalSettings) -> Vec<Stamp> {
    settings.tls.all().map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.mtime(),
        file.mtime_nsec(),
        file.len(),
    ))
}
