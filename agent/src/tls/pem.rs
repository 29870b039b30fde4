//! Reading PEM files, so that what is wrong with one is said of it by name.

use std::path::Path;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};

use super::{Pair, TlsError, provider};
use crate::small_file;

/// More than a bundle of all public authorities has.
const LARGEST: u64 = 1 << 20;

/// A pair that belongs together.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) cert_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// At least one authority.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) pem: Vec<u8>,
    pub(super) store: RootCertStore,
}

pub(super) fn read_pair(pair: &Pair) -> Result<Own, TlsError> {
    let (cert_pem, key_pem) = (read(&pair.cert)?, read(&pair.key)?);
    let chain = certificates(&pair.cert, &cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|source| TlsError::Key {
        path: pair.key.clone(),
        source,
    })?;
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider())
        .map_err(|source| mismatch(pair, source))?;
    Ok(Own {
        cert_pem,
        key_pem,
        chain,
        key,
    })
}

pub(super) fn mismatch(pair: &Pair, source: Error) -> TlsError {
    TlsError::Pair {
        cert: pair.cert.clone(),
        key: pair.key.clone(),
        source,
    }
}

impl Own {
    /// What keeps the certificate from being used at this time.
    pub(super) fn lapse(&self) -> Option<CertificateError> {
        let parsed = ParsedCertificate::try_from(self.chain.first()?).ok()?;
        // Nobody has signed it as far as that goes; but what its time says is looked at first.
        let verified = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &RootCertStore::empty(),
            &[],
            UnixTime::now(),
            provider().signature_verification_algorithms.all,
        );
        match verified {
            Err(Error::InvalidCertificate(
                why @ (CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }),
            )) => Some(why),
            _ => None,
        }
    }
}

pub(super) fn read_authorities(path: &Path) -> Result<Authorities, TlsError> {
    let pem = read(path)?;
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, &pem)? {
        store
            .add(certificate)
            .map_err(|_unusable| TlsError::Certificates {
                path: path.to_owned(),
            })?;
    }
    Ok(Authorities { pem, store })
}

/// At least one certificate.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| TlsError::Certificates {
        path: path.to_owned(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    small_file::whole(path, LARGEST).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}
