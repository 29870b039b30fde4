//! TLS, client certificates and tokens, and clients that get them wrong.

use std::fs;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::causes::chain;
use crate::tls::testing::{Changing, expired, file, pair};
use crate::tls::{ClientFiles, Pair, ServerFiles};

const METRICS: &str = "GET /metrics HTTP/1.0";
const HEALTH: &str = "GET /healthz HTTP/1.0";

/// Longer than any of these tests waits for an end that comes by itself.
const SHORT: Duration = Duration::from_millis(5);

fn tls(own: Pair, client_ca: Option<&str>) -> AccessSettings {
    let client_ca = client_ca.map(file);
    AccessSettings {
        tls: Some(ServerFiles { own, client_ca }),
        token_file: None,
    }
}

async fn secured(settings: &AccessSettings, limits: Limits) -> (Rig, Renewer) {
    let (access, renewer) = settings.open().unwrap();
    let rig = rig_for(access, limits, Some(status())).await;
    rig.readiness.send(READY).unwrap();
    (rig, renewer)
}

impl Rig {
    /// A client that trusts our authority, and shows this.
    async fn connect(&self, own: Option<Pair>) -> io::Result<TlsStream<TcpStream>> {
        let ca = Some(file("ours-ca.pem"));
        let config = ClientFiles { ca, own }.rustls().unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// What it is answered; an error where the connection breaks.
    async fn ask_secured(&self, own: Option<Pair>, head: &str) -> io::Result<Answer> {
        try_to_ask(self.connect(own).await?, head).await
    }

    /// `/metrics`, which needs an answer of the pipeline's if it gets that far.
    async fn scrape_secured(&mut self, own: Option<Pair>) -> u16 {
        let stream = self.connect(own).await.unwrap();
        self.scrape(stream, METRICS).await.status
    }

    async fn scrape(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> Answer {
        let requests = &mut self.requests;
        let played = async {
            let request = requests.recv().await.unwrap();
            request.reply.send(reading()).unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = ask(stream, head) => answer,
            () = played => unreachable!(),
        }
    }
}

#[tokio::test]
async fn with_tls_only_tls_is_spoken() {
    let (mut rig, _) = secured(&tls(pair("ours"), None), Limits::HTTP).await;
    assert_eq!(rig.ask_secured(None, HEALTH).await.unwrap().text(), "ok\n");
    assert_eq!(rig.scrape_secured(None).await, 200);
    for nonsense in [
        &b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\0\0\0\0",
        // The head of a handshake's record with nonsense in it.
        b"\x16\x03\x01\x00\x04nope",
        &vec![0x16; 70_000],
    ] {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        drop(stream.write_all(nonsense).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        // At most an alert, a record of type 21.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    let stranger = ClientFiles {
        ca: Some(file("others-ca.pem")),
        own: None,
    };
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(stranger.rustls().unwrap()));
    let name = ServerName::from(rig.address.ip());
    connector.connect(name, stream).await.unwrap_err();
    assert_eq!(rig.ask_secured(None, HEALTH).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_handshake_may_take_as_long_as_a_head() {
    let limits = Limits {
        connections: 1,
        head: SHORT,
        whole: None,
        ..Limits::HTTP
    };
    let (rig, _) = secured(&tls(pair("ours"), None), limits).await;
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut silent = TcpStream::connect(rig.address).await.unwrap();
        silent.write_all(beginning).await.unwrap();
        let mut answer = Vec::new();
        // The only place there is: nobody else would be served if this did not end.
        drop(silent.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP"));
    }
    let mut silent = rig.connect(None).await.unwrap();
    let mut answer = Vec::new();
    drop(silent.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn who_does_not_read_a_secured_answer_makes_room() {
    let limits = Limits {
        connections: 1,
        stall: Some(SHORT),
        whole: None,
        ..Limits::HTTP
    };
    let (access, _renewer) = tls(pair("ours"), None).open().unwrap();
    let large = Status::new(|| async { "x".repeat(32 << 20).into() });
    let rig = rig_for(access, limits, Some(large)).await;
    let mut lazy = rig.connect(None).await.unwrap();
    lazy.write_all(b"GET /api/v1/status HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    // There is one place.
    assert_eq!(rig.ask_secured(None, HEALTH).await.unwrap().status, 200);
    drop(lazy);
}

#[tokio::test]
async fn stopping_does_not_wait_for_handshakes() {
    let (rig, _) = secured(&tls(pair("ours"), None), Limits::HTTP).await;
    let mut silent = TcpStream::connect(rig.address).await.unwrap();
    silent.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(rig.ask_secured(None, HEALTH).await.unwrap().status, 200);
    rig.stop.cancel();
    rig.server.await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_certificate_is_asked_of_readers_and_not_of_probes() {
    let settings = tls(pair("ours"), Some("ours-ca.pem"));
    let (mut rig, _) = secured(&settings, Limits::HTTP).await;
    for path in ["/healthz", "/readyz"] {
        let head = format!("GET {path} HTTP/1.0");
        assert_eq!(
            rig.ask_secured(None, &head).await.unwrap().status,
            200,
            "{path}"
        );
    }
    for path in ["/metrics", "/", "/api/v1/status", "/nothing"] {
        let answer = rig
            .ask_secured(None, &format!("GET {path} HTTP/1.0"))
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.text()),
            (403, "a client certificate is required\n"),
            "{path}"
        );
    }
    assert_eq!(rig.scrape_secured(Some(pair("ours"))).await, 200);
    let shown = rig.ask_secured(Some(pair("ours")), "GET /api/v1/status HTTP/1.0");
    assert_eq!(shown.await.unwrap().text(), r#"{"fine":true}"#);
    // One that is no good is worse than none.
    for own in [pair("others"), expired()] {
        assert!(rig.ask_secured(Some(own), HEALTH).await.is_err());
    }
}

#[tokio::test]
async fn a_token_is_asked_of_readers_and_not_of_probes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "s3cret\n").unwrap();
    let settings = AccessSettings {
        tls: None,
        token_file: Some(path.clone()),
    };
    let (mut rig, mut renewer) = secured(&settings, Limits::HTTP).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(rig.ask(&format!("GET {path} HTTP/1.0")).await.status, 200);
    }
    let refused = rig.ask(METRICS).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused.head.contains("www-authenticate: bearer\r\n"),
        "{}",
        refused.head
    );
    for path in ["/metrics", "/", "/api/v1/status", "/nothing"] {
        for header in [
            "Bearer s3cre",
            "Bearer",
            "Basic s3cret",
            "s3cret",
            "Bearer S3cret",
        ] {
            let head = format!("GET {path} HTTP/1.0\r\nAuthorization: {header}");
            let refused = rig.ask(&head).await;
            assert_eq!(refused.status, 401, "{path} {header}");
            assert!(
                refused.head.contains("error=\"invalid_token\""),
                "{}",
                refused.head
            );
            assert!(!refused.text().contains("s3cret"));
        }
    }
    let head = "GET /metrics HTTP/1.0\r\nAuthorization: Bearer s3cret";
    let stream = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(rig.scrape(stream, head).await.status, 200);

    fs::write(&path, "an0ther").unwrap();
    renewer.look().await;
    assert_eq!(rig.ask(head).await.status, 401);
    // What is no token leaves the one before.
    fs::write(&path, "").unwrap();
    renewer.look().await;
    fs::remove_file(&path).unwrap();
    renewer.look().await;
    let head = "GET /metrics HTTP/1.0\r\nAuthorization: Bearer an0ther";
    let stream = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(rig.scrape(stream, head).await.status, 200);
}

#[tokio::test]
async fn of_certificate_and_token_both_are_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "s3cret").unwrap();
    let settings = AccessSettings {
        token_file: Some(path),
        ..tls(pair("ours"), Some("ours-ca.pem"))
    };
    let (rig, _) = secured(&settings, Limits::HTTP).await;
    let with = "GET / HTTP/1.0\r\nAuthorization: Bearer s3cret";
    let without = "GET / HTTP/1.0";
    let own = || Some(pair("ours"));
    for (own, head, expected) in [
        (None, with, 403),
        (None, without, 403),
        (own(), without, 401),
        (own(), with, 200),
    ] {
        let status = rig.ask_secured(own, head).await.unwrap().status;
        assert_eq!(status, expected, "{head}");
    }
}

/// The certificate a client is shown, whomever it trusts.
async fn shown(rig: &Rig, authority: &str) -> Option<Vec<u8>> {
    let ca = Some(file(&format!("{authority}-ca.pem")));
    let config = ClientFiles { ca, own: None }.rustls().unwrap();
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let name = ServerName::from(rig.address.ip());
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.ok()?;
    Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec())
}

fn certificate(authority: &str) -> Vec<u8> {
    let pem = fs::read(pair(authority).cert).unwrap();
    CertificateDer::from_pem_slice(&pem).unwrap().to_vec()
}

#[tokio::test]
async fn certificates_are_renewed_and_only_by_better_ones() {
    let files = Changing::of(&pair("ours"));
    let (rig, mut renewer) = secured(&tls(files.pair(), None), Limits::HTTP).await;
    assert_eq!(shown(&rig, "ours").await, Some(certificate("ours")));
    let open = rig.connect(None).await.unwrap();

    files.become_those_of(&pair("others"));
    renewer.look().await;
    assert_eq!(shown(&rig, "others").await, Some(certificate("others")));
    assert_eq!(shown(&rig, "ours").await, None);
    // Who is connected stays so.
    assert_eq!(ask(open, HEALTH).await.status, 200);

    files.put("key.pem", b"no key");
    renewer.look().await;
    assert_eq!(shown(&rig, "others").await, Some(certificate("others")));
    // Certificate and key of which only one has come yet.
    files.become_those_of(&pair("others"));
    files.put("cert.pem", &fs::read(pair("ours").cert).unwrap());
    renewer.look().await;
    assert_eq!(shown(&rig, "others").await, Some(certificate("others")));
    fs::remove_file(files.path("cert.pem")).unwrap();
    renewer.look().await;
    assert_eq!(shown(&rig, "others").await, Some(certificate("others")));
    files.become_those_of(&pair("ours"));
    renewer.look().await;
    assert_eq!(shown(&rig, "ours").await, Some(certificate("ours")));
    // One whose time is over does not take the place of one that is good.
    files.become_those_of(&expired());
    renewer.look().await;
    assert_eq!(shown(&rig, "ours").await, Some(certificate("ours")));
}

#[tokio::test]
async fn an_expired_certificate_at_start_is_shown_and_refused_by_clients() {
    let (rig, _) = secured(&tls(expired(), None), Limits::HTTP).await;
    let error = rig.connect(None).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_key() {
    let complaint = |settings: AccessSettings| chain(&settings.open().err().unwrap());
    let missing = Pair {
        key: "/nonexistent/key.pem".into(),
        ..pair("ours")
    };
    assert_eq!(
        complaint(tls(missing, None)),
        "prometheus.tls: cannot read /nonexistent/key.pem: No such file or directory (os error 2)"
    );
    let mixed = Pair {
        key: pair("others").key,
        ..pair("ours")
    };
    assert!(complaint(tls(mixed, None)).contains("cannot be used together"));
    let no_authority = tls(pair("ours"), Some("ours-key.pem"));
    assert!(complaint(no_authority).contains("ours-key.pem holds no PEM certificates"));
    let token = AccessSettings {
        tls: None,
        token_file: Some("/nonexistent/token".into()),
    };
    assert_eq!(
        complaint(token),
        "prometheus.bearer_token_file: cannot read /nonexistent/token: No such file or directory (os error 2)"
    );
}
