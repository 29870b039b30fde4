//! Reading an answer of OTLP/HTTP. Its status decides what becomes of the request; its body can only say more.

use std::{error::Error, pin::pin, time::SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;

use super::{
    super::{
        outcome::{self, Accepted, SendError},
        packing::Packing,
        transport::MAX_RESPONSE,
    },
    PROTOBUF,
};
use crate::{causes::chain, counters::Signal};

/// The most of a body that is read to explain a failure, before and after decompression.
const MAX_EXPLANATION: usize = 64 * 1024;

/// Judges an answer. What of its body has not come when `deadline` ends is not waited for.
pub(super) async fn read<B>(
    signal: Signal,
    answer: Response<B>,
    deadline: impl Future<Output = ()>,
) -> Result<Accepted, SendError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = answer.into_parts();
    if head.status.is_success() {
        let body = tokio::select! {
            body = whole(body) => body?,
            () = deadline => return Err(SendError::invalid("the answer did not end in time")),
        };
        return accepted(signal, &head.headers, body);
    }
    let mut explanation = Vec::new();
    tokio::select! {
        () = beginning(body, &mut explanation) => {}
        () = deadline => {}
    }
    if let Some(packing) = packing(&head.headers) {
        explanation = packing.unpack(&explanation, MAX_EXPLANATION).0;
    }
    Err(outcome::http_error(
        head.status,
        head.headers.get(RETRY_AFTER),
        SystemTime::now(),
        &explanation,
    ))
}

/// The body of a success. The receiver has the data: whatever happens here, it is not sent again.
async fn whole<B>(body: B) -> Result<Bytes, SendError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match Limited::new(body, MAX_RESPONSE).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            let detail = format!("the answer was cut short: {}", chain(error.as_ref()));
            Err(SendError::invalid(detail))
        }
    }
}

fn accepted(signal: Signal, headers: &HeaderMap, body: Bytes) -> Result<Accepted, SendError> {
    let body = match packing(headers) {
        None => body,
        Some(packing) => match packing.unpack(&body, MAX_RESPONSE + 1) {
            (_, Err(error)) => {
                let detail = format!("the answer is not {}: {error}", packing.name());
                return Err(SendError::invalid(detail));
            }
            (plain, Ok(())) if plain.len() > MAX_RESPONSE => return Err(too_large()),
            (plain, Ok(())) => plain.into(),
        },
    };
    if header_is(headers, &CONTENT_TYPE, PROTOBUF) {
        outcome::accepted(signal, &body)
    } else if header_is(headers, &CONTENT_TYPE, "text/html") && !body.is_empty() {
        // No receiver says that; whoever stands in its place, say to ask for a login, has not taken anything.
        Err(SendError::invalid("the answer is a web page"))
    } else {
        // A success in another format is a success that cannot say more.
        Ok(Accepted::default())
    }
}

/// Collects a body as far as it comes, at most [`MAX_EXPLANATION`] of it.
async fn beginning<B: Body<Data = Bytes>>(body: B, collected: &mut Vec<u8>) {
    let mut body = pin!(body);
    while collected.len() < MAX_EXPLANATION
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(data) = frame.into_data() {
            let wanted = data.len().min(MAX_EXPLANATION - collected.len());
            collected.extend_from_slice(&data[..wanted]);
        }
    }
}

fn header_is(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
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

/// How a body is packed, if it is.
fn packing(headers: &HeaderMap) -> Option<Packing> {
    let mut known = Packing::ALL.into_iter();
    known.find(|packing| header_is(headers, &CONTENT_ENCODING, packing.name()))
}

#[cfg(test)]
mod tests;
