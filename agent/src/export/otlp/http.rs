//! OTLP/HTTP with protobuf bodies.

mod answer;

use std::{
    io::{self, Write as _},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use flate2::write::GzEncoder;
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
    settings::{Compression, SignalSettings},
    transport::{self, Encoded, Transport, TransportError},
};
use crate::{
    lookup::{self, Lookup},
    tls,
};

const PROTOBUF: &str = "application/x-protobuf";
const GZIP: &str = "gzip";

/// An OTLP/HTTP client for one URL. Keeps its connection open between requests.
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<Lookup>>, Full<Bytes>>,
    url: Uri,
    headers: HeaderMap,
    compression: Compression,
    timeout: Duration,
}

impl HttpClient {
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        let tcp = lookup::connector();
        let connector = if settings.endpoint.scheme_str() == Some("https") {
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
            compression: settings.compression,
            timeout: settings.timeout,
        })
    }

    /// Sends the request and waits for the answer to begin.
    async fn exchange(&self, request: &Encoded) -> Result<Response<Incoming>, SendError> {
        let body = match self.compression {
            Compression::None => request.body.clone(),
            Compression::Gzip => {
                gzip(&request.body).map_err(|error| SendError::connection(&error))?
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
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(GZIP));
    match settings.compression {
        Compression::None => drop(headers.remove(CONTENT_ENCODING)),
        Compression::Gzip => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static(GZIP))),
    }
    headers
}

fn gzip(plain: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}
