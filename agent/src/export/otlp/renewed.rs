//! A client that is made anew when the files of its certificates change, as they do where somebody renews them.

use super::{
    outcome::{Accepted, SendError},
    settings::SignalSettings,
    transport::{Client, Encoded, Transport, TransportError},
};
use crate::{causes::chain, file_stamp::FileStamp};

/// A client, and the files it was made from.
pub(super) struct Renewed {
    settings: SignalSettings,
    stamps: Vec<Option<FileStamp>>,
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

fn stamps(settings: &SignalSettings) -> Vec<Option<FileStamp>> {
    settings.tls.all().map(FileStamp::of).collect()
}
