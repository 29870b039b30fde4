//! OTLP/HTTP with protobuf bodies.

mod answer;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time;

use super::{
    outcome::{Accepted, SendError},
    packing::Packing,
    settings::SignalSettings,
    transport::{self, Encoded, Transport, TransportError},
};
use crate::{
    lookup::{self, Lookup},
    tls,
};

const PROTOBUF: &str = "application/x-protobuf";

/// An OTLP/HTTP client for one URL. Keeps its connection open between requests.
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<Lookup>>, Full<Bytes>>,
    url: Uri,
    headers: HeaderMap,
    packing: Option<Packing>,
    timeout: Duration,
}

impl HttpClient {
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        let tcp = lookup::connector();
        let connector = if settings.is_secure() {
            let tls = settings.tls.rustls()?;
            HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_only()
                .enable_http1()
                .wrap_connector(tcp)
        } else {
            // Never used for TLS, so it needs nobody to trust.
            let tls = tls::untrusting()?;
            HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp)
        };
        Ok(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(connector),
            url: settings.endpoint.clone(),
            headers: headers(settings),
            packing: Packing::of(settings.compression),
            timeout: settings.timeout,
        })
    }

    /// Sends the request and waits for the answer to begin.
    async fn exchange(&self, request: &Encoded) -> Result<Response<Incoming>, SendError> {
        let body = match self.packing {
            None => request.body.clone(),
            Some(packing) => {
                let packed = packing.pack(&request.body);
                packed
                    .map_err(|error| SendError::connection(&error))?
                    .into()
            }
        };
        let mut message = Request::new(Full::new(body));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = self.url.clone();
        *message.headers_mut() = self.headers.clone();
        self.client
            .request(message)
            .await
            .map_err(|error| SendError::connection(&error))
    }
}

impl Transport for HttpClient {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        let mut deadline = pin!(time::sleep(self.timeout));
        let answer = tokio::select! {
            answer = self.exchange(request) => answer?,
            () = &mut deadline => return Err(SendError::timeout(self.timeout)),
        };
        answer::read(request.signal, answer, deadline).await
    }
}

/// The configured headers, then those that OTLP fixes, which win.
fn headers(settings: &SignalSettings) -> HeaderMap {
    let mut headers = settings.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    headers.insert(USER_AGENT, HeaderValue::from_static(transport::USER_AGENT));
    let (accepted, sent) = match Packing::of(settings.compression) {
        None => (Packing::Gzip, None),
        Some(packing) => (packing, Some(HeaderValue::from_static(packing.name()))),
    };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted.name()));
    match sent {
        None => drop(headers.remove(CONTENT_ENCODING)),
        Some(encoding) => drop(headers.insert(CONTENT_ENCODING, encoding)),
    }
    headers
}
