//! A receiver that comes and goes.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    Agent, Need, Page, Programs, Receiver, attribute, eventually, ready, text, until,
};

#[test]
fn a_receiver_that_dies_gets_everything_when_it_is_back() {
    if !ready(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "grpc")
        .set("traces.process", "on")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    let name = [("process_executable_name", program.name.as_str())];
    let execs = |page: &Page| page.sum("wellhead_process_execs_total", &name);
    let failures = |page: &Page| {
        let labels = [("wellhead_signal", "metrics")];
        page.sum("wellhead_agent_export_failures_total", &labels)
    };
    // Count and start time of our series, as the receiver has them.
    let arrived = |receiver: &Receiver| {
        let points = receiver.last_points();
        let ours = points.iter().find(|point| {
            text(point, "name") == "wellhead.process.execs"
                && attribute(point, "process.executable.name") == program.name.as_str()
        });
        ours.map(|point| {
            (
                point["value"].as_u64(),
                point["start_time_unix_nano"].as_u64(),
            )
        })
    };
    program.run_times(5, &[]);
    let (_, start) = until("the first five", || {
        arrived(&receiver).filter(|(value, _)| *value == Some(5))
    });
    assert_eq!(failures(&agent.metrics()), 0);

    receiver.kill();
    program.run_times(6, &[]);
    let complaints = || agent.log().matches("OTLP export fails").count();
    // Of metrics and, a second or two after their processes ended, of spans.
    eventually("failures of both signals", &2, complaints);
    assert!(failures(&agent.metrics()) > 0);
    assert_eq!(execs(&agent.metrics()), 11);
    assert_eq!(agent.get("/readyz").status, 200);

    receiver.start_again();
    program.run_times(2, &[]);
    eventually(
        "all thirteen, counted since the same moment",
        &Some((Some(13), start)),
        || arrived(&receiver),
    );
    eventually("a span of each, once", &13, || {
        let spans = receiver.spans();
        let ours = spans
            .iter()
            .filter(|span| text(span, "name") == program.name);
        ours.count()
    });
    assert_eq!(
        complaints(),
        2,
        "said once for each signal: {}",
        agent.log()
    );
}

#[test]
fn a_dead_receiver_does_not_keep_an_agent() {
    if !ready(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "http/protobuf")
        .set("shutdown_grace", "1s")
        .start();
    until("a request", || receiver.requests().pop());
    receiver.kill();
    let stopped = agent.stop(Signal::TERM, Duration::from_secs(10));
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    assert!(
        stopped.log.contains("not everything could be exported"),
        "{}",
        stopped.log
    );
}
