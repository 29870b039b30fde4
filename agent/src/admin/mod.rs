//! HTTP: `/metrics`, `/healthz`, `/readyz`, status and a landing page.
//!
//! The caller binds the listeners, so that an address in use is its own error.

mod access;
mod events;
mod guests;
mod metrics;
mod readiness;
mod secure;
mod server;
mod stalling;
mod status;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::compression::{CompressionLayer, CompressionLevel};

pub use self::access::{Access, AccessError, AccessSettings, Renewer, TokenError};
pub use self::events::{EventQuery, events_router};
pub use self::metrics::Metrics;
pub use self::readiness::Readiness;
pub use self::server::{Limits, serve};
pub use self::status::{Status, is_local};

/// What the endpoints need from the rest of the agent.
#[derive(Debug)]
pub struct Endpoints {
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` waits for.
    pub readiness: tokio::sync::watch::Receiver<Readiness>,
    /// What `/api/v1/status` says; `None` leaves it out of this listener.
    pub status: Option<Status>,
    /// What is asked of those who read any of it.
    pub access: Access,
}

/// Serves all endpoints until `stop`, and takes up files that change meanwhile.
pub async fn listen(
    listener: TcpListener,
    endpoints: Endpoints,
    renewer: Renewer,
    stop: CancellationToken,
) {
    let tls = endpoints.access.tls();
    let serving = serve(listener, router(endpoints), Limits::HTTP, tls, stop.clone());
    tokio::join!(serving, renewer.run(stop));
}

/// All endpoints of the HTTP listener. Whether the agent lives and is ready anybody may ask: the kubelet has no certificate and no token.
pub fn router(endpoints: Endpoints) -> Router {
    let Endpoints {
        metrics,
        readiness,
        status,
        access,
    } = endpoints;
    let landing = landing_page(status.is_some());
    let mut guarded = Router::new()
        .route("/", get(|| async { Html(landing) }))
        .merge(metrics::router(metrics));
    if let Some(status) = status {
        guarded = guarded.merge(status_router(status));
    }
    let guarded = guarded
        .fallback(async || (StatusCode::NOT_FOUND, "no such page; see /\n"))
        .layer(from_fn_with_state(access, access::guard));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(readiness::router(readiness))
        .merge(guarded)
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

/// `/api/v1/status` alone, for the Unix socket.
pub fn status_router(status: Status) -> Router {
    status::router(status)
}

fn landing_page(with_status: bool) -> String {
    let status = if with_status {
        "<li><a href=\"/api/v1/status\">Status</a></li>"
    } else {
        ""
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Wellhead</title></head><body><h1>Wellhead</h1><ul>\
         <li><a href=\"/metrics\">Metrics</a></li><li><a href=\"/healthz\">Health</a></li>\
         <li><a href=\"/readyz\">Readiness</a></li>{status}</ul></body></html>\n"
    )
}
