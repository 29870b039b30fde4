//! OTLP/HTTP with protobuf bodies.

use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use flate2::{read::GzDecoder, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time;

use super::{
    outcome::{self, Accepted, SendError},
    settings::{Compression, SignalSettings},
    tls,
    transport::{self, Encoded, MAX_RESPONSE, Transport, TransportError},
};

const PROTOBUF: &str = "application/x-protobuf";
const GZIP: &str = "gzip";

/// An OTLP/HTTP client for one URL. Keeps its connection open between requests.
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    headers: HeaderMap,
    compression: Compression,
    timeout: Duration,
}

impl HttpClient {
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = if settings.endpoint.scheme_str() == Some("https") {
            let tls = tls::client_config(settings.ca_file.as_deref())?;
            HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_only()
                .enable_http1()
                .wrap_connector(tcp)
        } else {
            // Never used for TLS, so it needs nobody to trust.
            let tls = tls::untrusting_config()?;
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

    async fn exchange(&self, request: &Encoded) -> Result<Accepted, SendError> {
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
        let answer = self
            .client
            .request(message)
            .await
            .map_err(|error| SendError::connection(&error))?;
        read_answer(request, answer).await
    }
}

impl Transport for HttpClient {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        time::timeout(self.timeout, self.exchange(request))
            .await
            .unwrap_or_else(|_elapsed| Err(SendError::timeout(self.timeout)))
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

async fn read_answer(request: &Encoded, answer: Response<Incoming>) -> Result<Accepted, SendError> {
    let (head, body) = answer.into_parts();
    let body = match Limited::new(body, MAX_RESPONSE).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(error) => return Err(SendError::connection(error.as_ref())),
    };
    let body = if header_is(&head.headers, &CONTENT_ENCODING, GZIP) {
        gunzip(&body)?
    } else {
        body
    };
    if !head.status.is_success() {
        let retry_after = head.headers.get(RETRY_AFTER);
        return Err(outcome::http_error(
            head.status,
            retry_after,
            SystemTime::now(),
            &body,
        ));
    }
    // A success in another format is a success that cannot say more.
    if header_is(&head.headers, &CONTENT_TYPE, PROTOBUF) {
        outcome::accepted(request.signal, &body)
    } else {
        Ok(Accepted::default())
    }
}

fn header_is(headers: &HeaderMap, name: &http::HeaderName, value: &str) -> bool {
    let text = headers
        .get(name)
        .and_then(|found| found.to_str().ok())
        .unwrap_or_default();
    let without_parameters = text.split(';').next().unwrap_or_default();
    without_parameters.trim().eq_ignore_ascii_case(value)
}

fn too_large() -> SendError {
    SendError::invalid(format!("the answer is larger than {MAX_RESPONSE} bytes"))
}

fn gzip(plain: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

/// Unpacks an answer, but never more than [`MAX_RESPONSE`] of it.
fn gunzip(packed: &[u8]) -> Result<Bytes, SendError> {
    let mut plain = Vec::new();
    GzDecoder::new(packed)
        .take(MAX_RESPONSE as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| SendError::invalid(format!("the answer is not gzip: {error}")))?;
    if plain.len() > MAX_RESPONSE {
        Err(too_large())
    } else {
        Ok(plain.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_undone_within_the_limit() {
        let plain = b"answer".repeat(1000);
        assert_eq!(gunzip(&gzip(&plain).unwrap()).unwrap(), plain);
        assert!(gunzip(b"not gzip").is_err());

        let at_limit = vec![0; MAX_RESPONSE];
        assert_eq!(
            gunzip(&gzip(&at_limit).unwrap()).unwrap().len(),
            MAX_RESPONSE
        );
        let bomb = gzip(&vec![0; MAX_RESPONSE + 1]).unwrap();
        assert_eq!(gunzip(&bomb).unwrap_err(), too_large());
    }
}
