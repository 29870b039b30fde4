//! A client that is made anew when the files of its certificates change.

use super::{
    outcome::{Accepted, SendError},
    settings::SignalSettings,
    transport::{Client, Encoded, Transport, TransportError},
};
use crate::{
    causes::chain,
    renewable::{Look, Renewable},
};

/// A client, and the files it was made from. It looks at them with every request.
pub(super) struct Renewed(Renewable<Client, TransportError>);

impl Renewed {
    /// Prepares a client; see [`Client::new`].
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        let paths = settings.tls.paths();
        let settings = settings.clone();
        Renewable::new(paths, move |_| Client::new(&settings)).map(Self)
    }
}

impl Transport for Renewed {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        match self.0.look().await {
            Look::Same => {}
            Look::Renewed => tracing::info!("using renewed certificates for OTLP"),
            Look::Refused(error) => {
                tracing::warn!(error = %chain(&error), "going on with the certificates there were before");
            }
        }
        self.0.get_mut().send(request).await
    }
}
