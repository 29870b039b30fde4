//! Tests that need more than one file's private parts: requests against the readings and batches they come from, answers
//! against the specification's tables, clients against real servers, tasks against a paused clock.

mod delivery;
mod grpc;
mod hostile;
mod http;
mod ledger;
mod metrics;
mod outcome;
mod spans;
mod support;
mod tls;
mod transport;

use super::{
    grouped,
    metrics::{Form, MetricRequests},
    queue::Finished as _,
};

/// A request with a span of each of these services.
pub(super) fn spans_request(services: &[&str]) -> Vec<u8> {
    let spans: Vec<_> = services
        .iter()
        .map(|service| {
            let mut span = support::span(1);
            span.resource = support::resource(service);
            span.encode()
        })
        .collect();
    grouped::requests(&spans, 1 << 20)
        .requests
        .remove(0)
        .body
        .to_vec()
}

/// A request with so many points of one metric.
pub(super) fn metrics_request(points: u16) -> Vec<u8> {
    let request =
        MetricRequests::new(support::snapshot(5, points), Form::default(), 1 << 20).next();
    request.unwrap().body.to_vec()
}
