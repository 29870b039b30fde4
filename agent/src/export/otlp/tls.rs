//! Whom to trust, the system's certificate authorities or those of a file, and what the agent shows for itself.

use std::{fs, path::Path, sync::Arc};

use hyper_rustls::ConfigBuilderExt as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{settings::TlsFiles, transport::TransportError};

/// TLS for HTTP with ring's cryptography.
pub(super) fn client_config(files: &TlsFiles) -> Result<ClientConfig, TransportError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TransportError::Tls)?;
    let builder = match &files.ca {
        Some(path) => builder.with_root_certificates(authorities(path, &read(path)?)?),
        None => builder
            .with_native_roots()
            .map_err(TransportError::SystemRoots)?,
    };
    let Some((cert, key)) = files.own() else {
        return Ok(builder.with_no_client_auth());
    };
    let (cert_pem, key_pem) = read_own(cert, key)?;
    let chain = certificates(cert, &cert_pem)?;
    let signing = private_key(key, &key_pem)?;
    builder
        .with_client_auth_cert(chain, signing)
        .map_err(|source| TransportError::Pair {
            cert: cert.to_owned(),
            key: key.to_owned(),
            source,
        })
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

/// The bytes of a PEM file that holds at least one usable authority.
pub(super) fn read_ca(path: &Path) -> Result<Vec<u8>, TransportError> {
    let pem = read(path)?;
    authorities(path, &pem)?;
    Ok(pem)
}

/// The bytes of PEM files of a certificate and of its key, both of which hold one.
pub(super) fn read_own(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), TransportError> {
    let (cert_pem, key_pem) = (read(cert)?, read(key)?);
    certificates(cert, &cert_pem)?;
    private_key(key, &key_pem)?;
    Ok((cert_pem, key_pem))
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    fs::read(path).map_err(|source| TransportError::File {
        path: path.to_owned(),
        source,
    })
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TransportError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| TransportError::Key {
        path: path.to_owned(),
        source,
    })
}

/// At least one certificate.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| TransportError::Certificates {
        path: path.to_owned(),
    })
}

/// At least one certificate, and all of them good for an authority's.
fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, TransportError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        store
            .add(certificate)
            .map_err(|_unusable| TransportError::Certificates {
                path: path.to_owned(),
            })?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let error = read_ca(&path).unwrap_err().to_string();
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
            let files = TlsFiles {
                ca: Some(path.clone()),
                ..TlsFiles::default()
            };
            let error = client_config(&files).unwrap_err().to_string();
            assert!(
                error.ends_with("holds no PEM certificates that can be used"),
                "{error}"
            );
        }
    }
}
