//! A client that is made anew when the files of its certificates change, as they do where somebody renews them.

use tokio::task::spawn_blocking;

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
    /// Those that could not be used, of which was told.
    refused: Option<Vec<Option<FileStamp>>>,
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
            refused: None,
        })
    }

    /// Looks whether a file is another one than before. If what it holds now cannot be used, the client goes on with what it has, and
    /// looks again with the next request.
    async fn renew(&mut self) {
        let (settings, known) = (self.settings.clone(), self.stamps.clone());
        // Files may be slow.
        let renewed = spawn_blocking(move || {
            let stamps = stamps(&settings);
            (stamps != known).then(|| (stamps, Client::new(&settings)))
        });
        let Ok(Some((stamps, client))) = renewed.await else {
            return;
        };
        match client {
            Ok(client) => {
                self.client = client;
                self.stamps = stamps;
                tracing::info!("using renewed certificates for OTLP");
            }
            Err(error) if self.refused.as_ref() != Some(&stamps) => {
                self.refused = Some(stamps);
                tracing::warn!(error = %chain(&error), "going on with the certificates there were before");
            }
            Err(_said_before) => {}
        }
    }
}

impl Transport for Renewed {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        if !self.stamps.is_empty() {
            self.renew().await;
        }
        self.client.send(request).await
    }
}

fn stamps(settings: &SignalSettings) -> Vec<Option<FileStamp>> {
    settings.tls.all().map(FileStamp::of).collect()
}
