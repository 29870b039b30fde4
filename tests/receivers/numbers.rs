//! The same numbers, whoever is asked, and those that were made.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use wellhead_tests::hostile::Samples;

use crate::programs::ready;
use crate::roads::{Road, scraped};
use crate::support::{Program, Programs, Served, eventually, refused};

/// Connections that end at once, and what each carries up and down.
const SHORT: (u64, usize, usize) = (60, 100, 200);
/// Connections that last, as [`LASTING`] says.
const LONG: (u64, usize, usize) = (5, 1_000, 2_000);
/// How often one connection carries this.
const LARGE: (u64, usize, usize) = (20, 100_000, 50_000);
/// Longer than a second and shorter than ten, however slow the machine.
const LASTING: Duration = Duration::from_millis(2_500);
const REFUSED: u64 = 9;
const WELL: u64 = 40;
const ILL: u64 = 7;
const KILLED: u64 = 2;
const SLOW: u64 = 3;

/// VictoriaMetrics keeps this much of a number.
const DIGITS: f64 = 1e-11;

#[test]
fn are_the_same_in_all_and_what_was_made() {
    if !ready() {
        return;
    }
    let roads = Road::all();
    let prometheus = scraped(&roads);
    let made = Made::now();
    let expected = Made::numbers();
    let mut steady = BTreeMap::new();
    for road in &roads {
        let shown = road.targets().map(|target| {
            let read = || made.look(|selector| prometheus.samples(&target, selector));
            eventually(&target.name, &expected, || made.counted(&read()));
            read()
        });
        eventually(road.name, &expected, || {
            made.counted(&arrived(road, &made, &shown[0]))
        });
        // Whatever else there is about this work: round-trip times, segments, all buckets and sums.
        let [open, text_1, text] = &shown;
        assert_eq!(open, text_1, "{}", road.name);
        assert_eq!(open, text, "{}", road.name);
        let arrived = arrived(road, &made, open);
        assert_eq!(
            differences(open, &arrived),
            [] as [String; 0],
            "{}",
            road.name
        );
        made.check_durations(open);
        steady.insert(road.name, without_measured_times(open));
    }
    // Each agent takes its own times, and sees the rest alike.
    let mut all = steady.iter();
    let (first, numbers) = all.next().expect("a road");
    for (other, others) in all {
        assert_eq!(numbers, others, "{first}, and {other}");
    }
}

/// What came to the end of a road, with the labels that Prometheus shows: of a Resource it shows some attributes only.
fn arrived(road: &Road, made: &Made, shown: &Samples) -> Samples {
    let labels: BTreeSet<_> = shown.keys().flat_map(|(_, labels)| labels.keys()).collect();
    let mut arrived = Samples::new();
    for ((name, mut all), value) in made.look(|selector| road.arrived(selector)) {
        all.retain(|label, _| labels.contains(label));
        let before = arrived.insert((name, all), value);
        assert_eq!(before, None, "{}: two series of the same labels", road.name);
    }
    arrived
}

/// What two have not the same.
fn differences(one: &Samples, other: &Samples) -> Vec<String> {
    let series: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = series.into_iter().filter_map(|series| {
        let values = (one.get(series).copied(), other.get(series).copied());
        let same = match values {
            (Some(one), Some(other)) => (one - other).abs() <= one.abs() * DIGITS,
            _ => false,
        };
        (!same).then(|| format!("{series:?}: {values:?}"))
    });
    differ.collect()
}

/// Without what depends on when an agent looked, or on nanoseconds.
fn without_measured_times(samples: &Samples) -> Samples {
    let is_measured = |name: &str| {
        name.ends_with("_seconds_sum")
            || name.contains("_tcp_rtt_")
            || name.contains("_connect_duration_seconds_bucket")
            || name.contains("_tcp_limited_")
    };
    let mut steady = samples.clone();
    // Of what took less than a second, only that it did.
    let is_fine = |(name, labels): &(String, BTreeMap<String, String>)| {
        name.ends_with("_bucket")
            && labels
                .get("le")
                .is_some_and(|upper| upper.parse::<f64>().is_ok_and(|upper| upper < 1.0))
    };
    steady.retain(|series, _| !is_measured(&series.0) && !is_fine(series));
    steady
}

/// Work that has been done, and the names it is known by.
struct Made {
    served: String,
    refused: String,
    well: Program,
    ill: Program,
    killed: Program,
    slow: Program,
}

impl Made {
    fn now() -> Self {
        let programs = Programs::new();
        let slow = programs.link("/bin/sleep", "slow");
        let (well, ill, killed) = (
            programs.link("/bin/true", "true"),
            programs.link("/bin/sh", "ill"),
            programs.link("/bin/sh", "killed"),
        );
        let served = Served::new();
        let seconds = LASTING.as_secs_f64().to_string();
        let sleeping = (0..SLOW).map(|_| slow.command(&[&seconds]).spawn().expect("it runs"));
        let sleeping: Vec<_> = sleeping.collect();
        let open: Vec<_> = (0..LONG.0)
            .map(|_| {
                let mut connected = served.connect();
                connected.exchange(LONG.1, LONG.2);
                connected
            })
            .collect();
        served.exchange(SHORT.0, SHORT.1, SHORT.2);
        let mut large = served.connect();
        for _ in 0..LARGE.0 {
            large.exchange(LARGE.1, LARGE.2);
        }
        large.close();
        let closed_port = refused(REFUSED);
        well.run_times(WELL, &[]);
        ill.run_times(ILL, &["-c", "exit 3"]);
        killed.run_times(KILLED, &["-c", "kill -9 $$"]);
        thread::sleep(LASTING);
        for connected in open {
            connected.close();
        }
        for mut sleeping in sleeping {
            sleeping.wait().expect("its end");
        }
        Self {
            served: served.port.clone(),
            refused: closed_port.port.clone(),
            well,
            ill,
            killed,
            slow,
        }
    }

    /// All series about it that somebody has, who is asked by selectors.
    fn look(&self, ask: impl Fn(&str) -> Samples) -> Samples {
        let ports = [&self.served, &self.refused].map(String::as_str).join("|");
        let programs = [&self.well, &self.ill, &self.killed, &self.slow];
        let programs = programs.map(|program| program.name.as_str()).join("|");
        let selectors = [
            format!("destination_port=~\"{ports}\""),
            format!("process_executable_name=~\"{programs}\""),
        ];
        selectors
            .iter()
            .flat_map(|selector| ask(selector))
            .collect()
    }

    /// The numbers in series about it.
    fn counted(&self, samples: &Samples) -> BTreeMap<&'static str, [f64; 2]> {
        let sum = |name: &str, labels: &[(&str, &str)]| sum(samples, name, labels);
        let port = ("destination_port", self.served.as_str());
        let at_both_ends = |name: &str, labels: &[(&str, &str)]| {
            ["source", "destination"].map(|end| {
                let end = [port, ("wellhead_reporter", end)];
                sum(name, &[&end[..], labels].concat())
            })
        };
        let name = |program: &Program| program.name.clone();
        let program = |name: &str, program: &Program, outcome: (&str, &str)| {
            let own = ("process_executable_name", program.name.as_str());
            [sum(name, &[own]), sum(name, &[own, outcome])]
        };
        let io = "wellhead_tcp_io_bytes_total";
        let lasted = "wellhead_tcp_connection_duration_seconds";
        let ran = "wellhead_process_duration_seconds";
        let exits = "wellhead_process_exits_total";
        let slow = name(&self.slow);
        let slow = ("process_executable_name", slow.as_str());
        let refused = ("destination_port", self.refused.as_str());
        let failures = "wellhead_tcp_connection_failures_total";
        BTreeMap::from([
            (
                "opened",
                at_both_ends("wellhead_tcp_connections_opened_total", &[]),
            ),
            (
                "closed",
                at_both_ends("wellhead_tcp_connections_closed_total", &[]),
            ),
            (
                "active",
                at_both_ends("wellhead_tcp_connections_active", &[]),
            ),
            (
                "sent",
                at_both_ends(io, &[("network_io_direction", "transmit")]),
            ),
            (
                "received",
                at_both_ends(io, &[("network_io_direction", "receive")]),
            ),
            ("connections", at_both_ends(&format!("{lasted}_count"), &[])),
            (
                "of up to 1 s",
                at_both_ends(&format!("{lasted}_bucket"), &[("le", "1.0")]),
            ),
            (
                "of up to 10 s",
                at_both_ends(&format!("{lasted}_bucket"), &[("le", "10.0")]),
            ),
            (
                "of any time",
                at_both_ends(&format!("{lasted}_bucket"), &[("le", "inf")]),
            ),
            (
                "connected",
                at_both_ends("wellhead_tcp_connect_duration_seconds_count", &[]),
            ),
            (
                "refused",
                [
                    sum(failures, &[refused]),
                    sum(failures, &[refused, ("error_type", "connection_refused")]),
                ],
            ),
            (
                "exits well",
                program(exits, &self.well, ("process_exit_code", "0")),
            ),
            (
                "exits ill",
                program(exits, &self.ill, ("process_exit_code", "3")),
            ),
            (
                "killed",
                program(exits, &self.killed, ("wellhead_process_signal", "SIGKILL")),
            ),
            (
                "executions",
                [&self.well, &self.slow].map(|program| {
                    sum(
                        "wellhead_process_execs_total",
                        &[("process_executable_name", &program.name)],
                    )
                }),
            ),
            (
                "slow of up to 1 s, and 10 s",
                ["1.0", "10.0"].map(|upper| sum(&format!("{ran}_bucket"), &[slow, ("le", upper)])),
            ),
            (
                "slow of any time",
                [
                    sum(&format!("{ran}_bucket"), &[slow, ("le", "inf")]),
                    sum(&format!("{ran}_count"), &[slow]),
                ],
            ),
        ])
    }

    /// What they have to be.
    fn numbers() -> BTreeMap<&'static str, [f64; 2]> {
        let connections = whole(SHORT.0 + LONG.0 + 1);
        let carried = |of: fn(&(u64, usize, usize)) -> usize| {
            let bytes = [SHORT, LONG, LARGE].map(|kind| kind.0 * of(&kind) as u64);
            whole(bytes.iter().sum())
        };
        let (up, down) = (carried(|kind| kind.1), carried(|kind| kind.2));
        let both = |number: u64| [whole(number); 2];
        BTreeMap::from([
            ("opened", [connections; 2]),
            ("closed", [connections; 2]),
            ("active", [0.0; 2]),
            ("sent", [up, down]),
            ("received", [down, up]),
            ("connections", [connections; 2]),
            ("of up to 1 s", both(SHORT.0 + 1)),
            ("of up to 10 s", [connections; 2]),
            ("of any time", [connections; 2]),
            ("connected", [connections, 0.0]),
            ("refused", both(REFUSED)),
            ("exits well", both(WELL)),
            ("exits ill", both(ILL)),
            ("killed", both(KILLED)),
            ("executions", [whole(WELL), whole(SLOW)]),
            ("slow of up to 1 s, and 10 s", [0.0, whole(SLOW)]),
            ("slow of any time", both(SLOW)),
        ])
    }

    /// Sums of times cannot be known exactly beforehand, but within what their buckets say.
    fn check_durations(&self, samples: &Samples) {
        let slow = [("process_executable_name", self.slow.name.as_str())];
        let ran = sum(samples, "wellhead_process_duration_seconds_sum", &slow);
        let port = [("destination_port", self.served.as_str())];
        let lasted = sum(
            samples,
            "wellhead_tcp_connection_duration_seconds_sum",
            &port,
        );
        let at_least = LASTING.as_secs_f64();
        for (sum, lasting, others) in [(ran, SLOW, 0), (lasted, 2 * LONG.0, 2 * (SHORT.0 + 1))] {
            let range = whole(lasting) * at_least..whole(lasting) * 10.0 + whole(others);
            assert!(range.contains(&sum), "{sum} is not in {range:?}");
        }
    }
}

/// The sum over series that have all these labels.
fn sum(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let found = samples.iter().filter(|((known, all), _)| {
        let has =
            |(label, value): &(&str, &str)| all.get(*label).is_some_and(|known| known == value);
        known == name && labels.iter().all(has)
    });
    found.map(|(_, value)| value).sum()
}

#[expect(clippy::cast_precision_loss, reason = "some millions at most")]
fn whole(number: u64) -> f64 {
    number as f64
}
