//! Mutual TLS over real connections, and certificates that are renewed.

use std::{fs, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    super::{
        renewed::Renewed,
        settings::{Protocol, SignalSettings},
        transport::{Encoded, Transport as _, TransportError},
    },
    transport::{metrics, settings},
};
use crate::{
    counters::Signal,
    tls::{
        ClientFiles, TlsError,
        testing::{Changing, file, pair},
    },
};

fn pem(name: &str) -> Vec<u8> {
    fs::read(file(name)).unwrap()
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let pem = pem(name);
    let all: Result<_, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.unwrap()
}

/// A receiver that knows certificates of our authority alone, and does no more than look at them.
struct Receiver {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Receiver {
    async fn new(protocol: Protocol) -> Self {
        let mut ours = RootCertStore::empty();
        for authority in certificates("ours-ca.pem") {
            ours.add(authority).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(ours), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                certificates("ours-cert.pem"),
                PrivateKeyDer::from_pem_slice(&pem("ours-key.pem")).unwrap(),
            )
            .unwrap();
        if protocol == Protocol::Grpc {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// Whose certificate the next client shows; `None` if the two do not come together.
    async fn meets(&self) -> Option<Vec<u8>> {
        let (stream, _) = self.listener.accept().await.unwrap();
        let stream = self.acceptor.accept(stream).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates()?.first()?;
        Some(shown.to_vec())
    }
}

/// An agent that trusts our authority.
fn trusting(files: Option<&Changing>) -> ClientFiles {
    ClientFiles {
        ca: Some(file("ours-ca.pem")),
        own: files.map(Changing::pair),
    }
}

fn secure(protocol: Protocol, receiver: &Receiver, tls: ClientFiles) -> SignalSettings {
    let address = receiver.listener.local_addr().unwrap();
    SignalSettings {
        endpoint: format!("https://{address}/v1/metrics").parse().unwrap(),
        timeout: Duration::from_secs(20),
        tls,
        ..settings(protocol, Signal::Metrics, address)
    }
}

/// Whom the receiver meets when the client sends.
async fn met(receiver: &Receiver, client: &mut Renewed, request: &Encoded) -> Option<Vec<u8>> {
    let sending = async {
        // In vain: nobody answers. A connection that was kept open is gone, too.
        while client.send(request).await.is_err() {}
    };
    tokio::select! {
        met = receiver.meets() => met,
        () = sending => panic!("nobody answers"),
    }
}

#[tokio::test]
async fn the_agent_shows_its_certificate_and_a_renewed_one_at_once() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = Receiver::new(protocol).await;
        let ours = certificates("ours-cert.pem")[0].to_vec();
        let files = Changing::of(&pair("ours"));
        let request = metrics().0;
        let tls = trusting(Some(&files));
        let mut client = Renewed::new(&secure(protocol, &receiver, tls)).unwrap();
        assert_eq!(
            met(&receiver, &mut client, &request).await,
            Some(ours.clone())
        );

        files.become_those_of(&pair("others"));
        assert_eq!(
            met(&receiver, &mut client, &request).await,
            None,
            "{protocol:?}"
        );
        files.become_those_of(&pair("ours"));
        assert_eq!(
            met(&receiver, &mut client, &request).await,
            Some(ours.clone())
        );

        // What cannot be used is not.
        files.put("cert.pem", b"no certificate");
        assert_eq!(met(&receiver, &mut client, &request).await, Some(ours));
    }
}

#[tokio::test]
async fn a_receiver_that_wants_a_certificate_meets_nobody_without() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = Receiver::new(protocol).await;
        let tls = ClientFiles {
            ca: Some(file("missing-ca.pem")),
            own: None,
        };
        let missing = Renewed::new(&secure(protocol, &receiver, tls))
            .err()
            .unwrap();
        assert!(
            matches!(missing, TransportError::Tls(TlsError::File { .. })),
            "{missing}"
        );

        let mut client = Renewed::new(&secure(protocol, &receiver, trusting(None))).unwrap();
        assert_eq!(
            met(&receiver, &mut client, &metrics().0).await,
            None,
            "{protocol:?}"
        );
    }
}
