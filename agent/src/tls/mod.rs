//! TLS from files of certificates: whom to trust, and what to show for oneself. A leaf.

mod pem;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// A certificate, with those that lead to its authority, and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificates, its own first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// PEM files of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// What the client shows, if a server asks for it.
    pub own: Option<Pair>,
}

/// PEM files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// What the server shows.
    pub own: Pair,
    /// The authorities of its clients' certificates, if it asks for any.
    pub client_ca: Option<PathBuf>,
}

/// Why files cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// As configured.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It can be read, and is no PEM file of certificates.
    #[error("{} holds no PEM certificates that can be used", path.display())]
    Certificates {
        /// As configured.
        path: PathBuf,
    },
    /// It can be read, and is no PEM file of a key.
    #[error("{} holds no PEM key that can be used", path.display())]
    Key {
        /// As configured.
        path: PathBuf,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// They do not belong together.
    #[error("{} and {} cannot be used together", cert.display(), key.display())]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What went wrong.
        source: rustls::Error,
    },
    /// The certificate's time is over, or has not come.
    #[error("{}", path.display())]
    Lapsed {
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The system's certificate authorities cannot be loaded.
    #[error("cannot load the system's certificate authorities; name a file of them instead")]
    SystemRoots(#[source] io::Error),
    /// Clients cannot be told from others.
    #[error("cannot verify certificates of clients")]
    Clients(#[source] VerifierBuilderError),
    /// TLS cannot be configured.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

impl Pair {
    /// If both are named.
    pub fn of(cert: Option<PathBuf>, key: Option<PathBuf>) -> Option<Self> {
        let (cert, key) = cert.zip(key)?;
        Some(Self { cert, key })
    }

    fn paths(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }

    /// Whether it is of any use at this time.
    fn check_time(&self) -> Result<(), TlsError> {
        let lapse = pem::read_pair(self)?.lapse();
        lapse.map_or(Ok(()), |why| Err(self.lapsed(why)))
    }

    fn lapsed(&self, why: CertificateError) -> TlsError {
        TlsError::Lapsed {
            path: self.cert.clone(),
            source: rustls::Error::InvalidCertificate(why),
        }
    }
}

impl ClientFiles {
    /// Whether any is named.
    pub(crate) const fn is_any(&self) -> bool {
        self.ca.is_some() || self.own.is_some()
    }

    /// All that are named.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let own = self.own.iter().flat_map(Pair::paths);
        let all = self.ca.as_deref().into_iter().chain(own);
        all.map(Path::to_owned).collect()
    }

    /// Reads them all, and finds out what is wrong.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        if let Some(path) = &self.ca {
            pem::read_authorities(path)?;
        }
        self.own.as_ref().map_or(Ok(()), Pair::check_time)
    }

    /// For HTTP.
    pub(crate) fn rustls(&self) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = match &self.ca {
            Some(path) => builder.with_root_certificates(pem::read_authorities(path)?.store),
            None => builder.with_native_roots().map_err(TlsError::SystemRoots)?,
        };
        let Some(pair) = &self.own else {
            return Ok(builder.with_no_client_auth());
        };
        let own = pem::read_pair(pair)?;
        builder
            .with_client_auth_cert(own.chain, own.key)
            .map_err(|source| pem::mismatch(pair, source))
    }

    /// For gRPC.
    pub(crate) fn tonic(&self) -> Result<ClientTlsConfig, TlsError> {
        let tls = match &self.ca {
            Some(path) => {
                let authorities = pem::read_authorities(path)?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities.pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let Some(pair) = &self.own else {
            return Ok(tls);
        };
        let own = pem::read_pair(pair)?;
        Ok(tls.identity(Identity::from_pem(own.cert_pem, own.key_pem)))
    }
}

impl ServerFiles {
    /// If a certificate and its key are named.
    pub fn of(
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
        client_ca: Option<PathBuf>,
    ) -> Option<Self> {
        let own = Pair::of(cert, key)?;
        Some(Self { own, client_ca })
    }

    /// All that are named.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let all = self
            .own
            .paths()
            .into_iter()
            .chain(self.client_ca.as_deref());
        all.map(Path::to_owned).collect()
    }

    /// Reads them all, and finds out what is wrong.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        if let Some(path) = &self.client_ca {
            pem::read_authorities(path)?;
        }
        self.own.check_time()
    }

    /// For HTTP. Clients are asked for a certificate if there are authorities for them; one that is shown has to be good, but
    /// none has to be.
    pub(crate) fn rustls(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(pem::read_authorities(path)?.store);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = verifier.allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(TlsError::Clients)?)
            }
        };
        let own = pem::read_pair(&self.own)?;
        let mut config = builder
            .with_single_cert(own.chain, own.key)
            .map_err(|source| pem::mismatch(&self.own, source))?;
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(config)
    }

    /// For gRPC. Clients have to show a certificate if there are authorities for them.
    pub(crate) fn tonic(&self) -> Result<ServerTlsConfig, TlsError> {
        let own = pem::read_pair(&self.own)?;
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(own.cert_pem, own.key_pem));
        let Some(path) = &self.client_ca else {
            return Ok(tls);
        };
        let authorities = pem::read_authorities(path)?;
        Ok(tls.client_ca_root(Certificate::from_pem(authorities.pem)))
    }
}

/// For connections without TLS, whose connector wants a configuration all the same: trusts nobody.
pub(crate) fn untrusting() -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// ring's cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
