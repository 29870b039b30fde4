//! The task of metrics.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point},
};
use prost::Message as _;

use super::*;
use crate::export::otlp::settings::Temporality;

fn first_point(request: &Encoded) -> NumberDataPoint {
    let message = ExportMetricsServiceRequest::decode(request.body.clone()).unwrap();
    let metric = &message.resource_metrics[0].scope_metrics[0].metrics[0];
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => sum.data_points[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// The number of the reading in a request.
fn reading(request: &Encoded) -> u64 {
    first_point(request).time_unix_nano
}

fn first_value(request: &Encoded) -> i64 {
    match first_point(request).value {
        Some(number_data_point::Value::AsInt(value)) => value,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_are_sent_every_interval_and_at_the_end() {
    let rig = Rig::new([], Answer::Accept);
    let task = tokio::spawn(rig.metrics().run());
    time::sleep(INTERVAL * 3 + INTERVAL / 2).await;
    rig.stop.cancel();
    assert!(task.await.unwrap());
    let readings: Vec<_> = rig
        .receiver
        .sent()
        .iter()
        .map(|(_, sent)| reading(sent))
        .collect();
    assert_eq!(readings, [1, 2, 3, 4]);
    assert_eq!(rig.counted(Signal::Metrics), (12, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_newest_reading_survives_an_outage() {
    let rig = Rig::new(vec![unavailable(); 30], Answer::Accept);
    let task = tokio::spawn(rig.metrics().run());
    let items = || rig.stats.signal(Signal::Metrics).items();
    while items() == 0 {
        time::sleep(INTERVAL).await;
    }
    let sent = rig.receiver.sent();
    let (failed, delivered) = sent.split_at(30);
    let oldest = reading(&failed[0].1);
    assert_eq!(oldest, 1);
    assert!(reading(&delivered[0].1) > oldest);
    // What was superseded was state, not loss.
    assert_eq!(rig.counters.discards(Discard::ExportFailed), 0);
    rig.stop.cancel();
    assert!(task.await.unwrap());
}

/// One request is taken, then the receiver wants to be left alone for longer than the interval, and so on.
#[tokio::test(start_paused = true)]
async fn a_throttled_receiver_gets_readings_to_their_end() {
    let throttled = [Answer::Accept, after(INTERVAL * 3)];
    let rig = Rig::new(throttled.into_iter().cycle().take(40), Answer::Accept);
    let mut task = rig.metrics();
    // A request holds one point or two.
    task.max_request = 400;
    let task = tokio::spawn(task.run());
    time::sleep(INTERVAL * 40).await;
    let mut attempts = BTreeMap::<u64, usize>::new();
    for (_, sent) in rig.receiver.sent() {
        *attempts.entry(reading(&sent)).or_default() += 1;
    }
    // Where the first was not taken, the next reading is as good.
    let begun = attempts.values().filter(|attempts| **attempts > 1).count() as u64;
    assert!(begun > 2, "{attempts:?}");
    let items = rig.stats.signal(Signal::Metrics).items();
    // All points of each that was begun, but for the one under way.
    assert!(items >= 3 * (begun - 1), "{items} of {attempts:?}");
    rig.stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_reading_is_counted_and_the_next_one_sent() {
    let rig = Rig::new([refused()], Answer::Accept);
    let task = tokio::spawn(rig.metrics().run());
    time::sleep(INTERVAL * 2 + INTERVAL / 2).await;
    assert_eq!(rig.counters.discards(Discard::ExportFailed), 3);
    assert_eq!(rig.counted(Signal::Metrics), (3, 0, 0, 0));
    rig.stop.cancel();
    assert!(task.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_last_reading_is_tried_for_the_grace_only() {
    for (answer, attempts) in [
        (Answer::Hang, 1..2),
        (unavailable(), 2..9),
        (refused(), 1..2),
    ] {
        let rig = Rig::new([], answer.clone());
        let task = tokio::spawn(rig.metrics().run());
        rig.stop.cancel();
        assert!(!task.await.unwrap(), "{answer:?}");
        assert!(rig.start.elapsed() <= GRACE, "{answer:?}");
        assert!(
            attempts.contains(&rig.sent().len()),
            "{answer:?} {:?}",
            rig.sent()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_under_way_is_not_told_again_at_the_end_where_deltas_are_told() {
    for (temporality, expected) in [
        (Temporality::Delta, [7, 0]),
        (Temporality::Cumulative, [7, 7]),
    ] {
        let slow = Answer::AcceptAfter(Duration::from_secs(2));
        let rig = Rig::new([slow], Answer::Accept);
        let mut task = rig.metrics();
        task.ledger = Arc::new(Mutex::new(Ledger::new(temporality)));
        let task = tokio::spawn(task.run());
        time::sleep(INTERVAL + Duration::from_secs(1)).await;
        rig.stop.cancel();
        assert!(task.await.unwrap());
        let sent = rig.receiver.sent();
        let values: Vec<_> = sent.iter().map(|(_, sent)| first_value(sent)).collect();
        assert_eq!(values, expected, "{temporality:?}");
        assert!(rig.start.elapsed() < INTERVAL + GRACE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_a_receiver_may_have_is_not_told_again() {
    let refused = SendError::new(ExportFailure::Refused, Retry::Never, "no");
    for (failure, expected) in [(SendError::invalid("?"), [7, 0]), (refused, [7, 7])] {
        let rig = Rig::new([Answer::Fail(failure)], Answer::Accept);
        let mut task = rig.metrics();
        task.ledger = Arc::new(Mutex::new(Ledger::new(Temporality::Delta)));
        let task = tokio::spawn(task.run());
        time::sleep(INTERVAL + Duration::from_secs(1)).await;
        rig.stop.cancel();
        task.await.unwrap();
        let sent = rig.receiver.sent();
        let values: Vec<_> = sent.iter().map(|(_, sent)| first_value(sent)).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_has_stopped_ends_nothing_else() {
    let rig = Rig::new([], Answer::Accept);
    let mut task = rig.metrics();
    task.snapshots = SnapshotHandle::channel(1).0;
    let task = tokio::spawn(task.run());
    time::sleep(INTERVAL * 2).await;
    rig.stop.cancel();
    assert!(!task.await.unwrap());
    assert!(rig.sent().is_empty());
}
