//! Whom to trust: the system's certificate authorities, or those of a file.

use std::{fs, path::Path, sync::Arc};

use hyper_rustls::ConfigBuilderExt as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::transport::TransportError;

/// TLS for HTTP with ring's cryptography.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TransportError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TransportError::Tls)?;
    let builder = match ca_file {
        Some(path) => builder.with_root_certificates(read_roots(path)?),
        None => builder
            .with_native_roots()
            .map_err(TransportError::SystemRoots)?,
    };
    Ok(builder.with_no_client_auth())
}

/// For connections without TLS, whose connector wants a configuration all the same: trusts nobody.
pub(super) fn untrusting_config() -> Result<ClientConfig, TransportError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TransportError::Tls)?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// The bytes of a PEM file that holds at least one usable certificate.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, TransportError> {
    let pem = fs::read(path).map_err(|source| TransportError::CaFile {
        path: path.to_owned(),
        source,
    })?;
    roots(&pem).ok_or_else(|| TransportError::CaContent {
        path: path.to_owned(),
    })?;
    Ok(pem)
}

fn read_roots(path: &Path) -> Result<RootCertStore, TransportError> {
    let pem = read_pem(path)?;
    roots(&pem).ok_or_else(|| TransportError::CaContent {
        path: path.to_owned(),
    })
}

fn roots(pem: &[u8]) -> Option<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate.ok()?).ok()?;
    }
    (!store.is_empty()).then_some(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let error = read_pem(&path).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read") && error.ends_with("ca.pem"),
            "{error}"
        );

        for content in [
            "",
            "not PEM",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            fs::write(&path, content).unwrap();
            let error = client_config(Some(&path)).unwrap_err().to_string();
            assert!(
                error.ends_with("holds no PEM certificates that can be used"),
                "{error}"
            );
        }
    }
}
