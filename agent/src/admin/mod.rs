//! HTTP: `/metrics`, `/healthz`, `/readyz`, status and a landing page.
//!
//! The caller binds the listeners, so that an address in use is its own error.

mod events;
mod metrics;
mod readiness;
mod server;
mod stalling;
mod status;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use tower_http::compression::{CompressionLayer, CompressionLevel};

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
}

/// All endpoints of the HTTP listener.
pub fn router(endpoints: Endpoints) -> Router {
    let Endpoints {
        metrics,
        readiness,
        status,
    } = endpoints;
    let landing = landing_page(status.is_some());
    let mut router = Router::new()
        .route("/", get(|| async { Html(landing) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(metrics::router(metrics))
        .merge(readiness::router(readiness));
    if let Some(status) = status {
        router = router.merge(status_router(status));
    }
    router
        .fallback(async || (StatusCode::NOT_FOUND, "no such page; see /\n"))
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
