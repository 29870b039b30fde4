//! Who may read what the HTTP listener shows, and how connections to it are secured.

mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rustls::ServerConfig;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::token::Token;
pub use self::token::TokenError;
use super::secure::Secure;
use crate::causes::chain;
use crate::config::Prometheus;
use crate::renewable::{Look, Occasion, Renewable};
use crate::tls::{ServerFiles, TlsError};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What is asked of clients, and what they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// `None`: without TLS.
    pub tls: Option<ServerFiles>,
    /// A file with the token that readers have to present, if any.
    pub token_file: Option<PathBuf>,
}

/// Files that cannot be used.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Certificates.
    #[error("prometheus.tls")]
    Tls(#[source] TlsError),
    /// The token.
    #[error("prometheus.bearer_token_file")]
    Token(#[source] TokenError),
}

impl AccessSettings {
    /// Derives them.
    pub fn new(config: &Prometheus) -> Self {
        let tls = config.tls.clone();
        Self {
            tls: ServerFiles::of(tls.cert_file, tls.key_file, tls.client_ca_file),
            token_file: config.bearer_token_file.clone(),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn open(&self) -> Result<(Access, Renewer), AccessError> {
        let mut access = Access::default();
        let mut renewer = Renewer::default();
        if let Some(files) = self.tls.clone() {
            access.certificates = files.client_ca.is_some();
            let paths = files.paths();
            let make = move |occasion| secure(&files, occasion).map_err(AccessError::Tls);
            let (kept, current) = Kept::new(paths, make)?;
            renewer.tls = Some(kept);
            access.tls = Some(Secure::new(current));
        }
        if let Some(path) = self.token_file.clone() {
            let paths = vec![path.clone()];
            let make = move |_| Token::read(&path).map(Arc::new).map_err(AccessError::Token);
            let (kept, current) = Kept::new(paths, make)?;
            renewer.token = Some(kept);
            access.token = Some(current);
        }
        Ok((access, renewer))
    }

    /// Reads the token, if there is to be one.
    pub(crate) fn check_token(&self) -> Option<Result<(), TokenError>> {
        let path = self.token_file.as_deref()?;
        Some(Token::read(path).map(drop))
    }
}

/// A certificate whose time is over is better than none at all at the start: clients say what is wrong with it, and telemetry
/// goes on meanwhile. It is not better than the one before.
fn secure(files: &ServerFiles, occasion: Occasion) -> Result<Arc<ServerConfig>, TlsError> {
    match files.check() {
        Err(lapsed @ TlsError::Lapsed { .. }) if occasion == Occasion::Start => {
            let error = chain(&lapsed);
            tracing::warn!(
                error,
                "clients will refuse the certificate of prometheus.tls"
            );
        }
        checked => checked?,
    }
    files.rustls().map(Arc::new)
}

/// What a connection says of its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    /// It has shown a certificate, and that is good.
    pub(super) certified: bool,
}

/// What is asked of clients. By default nothing.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tls: Option<Secure>,
    certificates: bool,
    token: Option<watch::Receiver<Arc<Token>>>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Certificate,
    NoToken,
    WrongToken,
}

impl Access {
    /// How to secure connections, if they are to be.
    pub fn tls(&self) -> Option<Secure> {
        self.tls.clone()
    }

    fn judge(&self, client: Client, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.certificates && !client.certified {
            return Err(Refusal::Certificate);
        }
        let Some(token) = &self.token else {
            return Ok(());
        };
        let token = Arc::clone(&token.borrow());
        let presented = headers.get(AUTHORIZATION).ok_or(Refusal::NoToken)?;
        if token.is_presented_by(presented.as_bytes()) {
            Ok(())
        } else {
            Err(Refusal::WrongToken)
        }
    }
}

/// Lets requests pass that bring what is asked for.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let client = request.extensions().get().copied().unwrap_or_default();
    match access.judge(client, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

impl Refusal {
    fn into_response(self) -> Response {
        let challenge = match self {
            Self::Certificate => {
                let why = "a client certificate is required\n";
                return (StatusCode::FORBIDDEN, why).into_response();
            }
            Self::NoToken => "Bearer",
            Self::WrongToken => "Bearer error=\"invalid_token\"",
        };
        let why = "a bearer token is required, and has to be the right one\n";
        (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, challenge)],
            why,
        )
            .into_response()
    }
}

/// What is made of files, and those who use it.
#[derive(Debug)]
struct Kept<T> {
    renewable: Renewable<T, AccessError>,
    current: watch::Sender<T>,
}

impl<T: Clone + Send + 'static> Kept<T> {
    fn new(
        paths: Vec<PathBuf>,
        make: impl Fn(Occasion) -> Result<T, AccessError> + Send + Sync + 'static,
    ) -> Result<(Self, watch::Receiver<T>), AccessError> {
        let renewable = Renewable::new(paths, make)?;
        let (current, receiver) = watch::channel(renewable.get().clone());
        Ok((Self { renewable, current }, receiver))
    }

    async fn look(&mut self, what: &'static str) {
        match self.renewable.look().await {
            Look::Same => {}
            Look::Renewed => {
                self.current.send_replace(self.renewable.get().clone());
                tracing::info!(what, "using renewed files");
            }
            Look::Refused(error) => {
                let error = chain(&error);
                tracing::warn!(error, "going on with the files there were before");
            }
        }
    }
}

/// Takes up files that change.
#[derive(Debug, Default)]
pub struct Renewer {
    tls: Option<Kept<Arc<ServerConfig>>>,
    token: Option<Kept<Arc<Token>>>,
}

impl Renewer {
    /// Looks at the files every few seconds until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.tls.is_none() && self.token.is_none() {
            return;
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => self.look().await,
            }
        }
    }

    /// Looks at them once.
    pub(super) async fn look(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.look("prometheus.tls").await;
        }
        if let Some(token) = &mut self.token {
            token.look("prometheus.bearer_token_file").await;
        }
    }
}
