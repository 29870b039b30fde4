//! What a scrape and an export of many series cost, beside what `prometheus-client` takes for the same page: all in one
//! process, one after the other and over again, so that what else the machine does meets all alike.
//!
//! `cargo xtask bench` runs it. Times are this machine's; the ratios are what counts.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

#[expect(dead_code, reason = "others need more of it")]
#[path = "shared/items.rs"]
mod items;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Value as Json, json};
use wellhead::counters::Counters;
use wellhead::export::otlp::{DeltaRequests, metric_requests};
use wellhead::export::prometheus::negotiation::Format;
use wellhead::export::prometheus::page::{Page, Scope};
use wellhead::identity::{OwnerId, Resolution, Resource, Value};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead::telemetry::store::{Reading, Store};

const SERIES: [u32; 3] = [1_000, 10_000, 100_000];
/// Series of one container.
const OF_ONE: u32 = 100;
const ROUNDS: usize = 15;
/// As the endpoint writes a page.
const PIECE: usize = 64 << 10;

fn main() {
    let all = SERIES.map(measure);
    let rows: Vec<Vec<Json>> = NAMES
        .iter()
        .enumerate()
        .map(|(what, name)| {
            let times = all.iter().map(|times| json!(times.milliseconds(what)));
            [json!(name)].into_iter().chain(times).collect()
        })
        .collect();
    items::table(
        "A scrape and an export, by the number of series",
        &format!(
            "Milliseconds, median of {ROUNDS} rounds, on one thread; {OF_ONE} series to a container."
        ),
        &["what", "1 000", "10 000", "100 000"],
        &rows,
    );
    let ratios: Vec<Vec<Json>> = RATIOS
        .iter()
        .map(|(name, ratio)| {
            let ratios = all.iter().map(|times| json!(ratio(times)));
            [json!(name)].into_iter().chain(ratios).collect()
        })
        .collect();
    items::table(
        "The same as ratios",
        "",
        &["what", "1 000", "10 000", "100 000"],
        &ratios,
    );
    for times in &all {
        times.tell();
    }
}

/// Of so many series.
fn measure(series: u32) -> Times {
    let pods = Pods::new(series);
    let mut store = store(series);
    let mut deltas = DeltaRequests::default();
    drop(deltas.of(pods.read_for_export(&mut store)));
    let registry = registry(&pods, series);
    let mut times = Times {
        series,
        ..Times::default()
    };
    for _ in 0..ROUNDS {
        let reading = times.take(READ, || pods.read(&store));
        let snapshot = times.take(ORDER, || Arc::new(reading.into_snapshot()));
        let bytes = times.take(PAGE, || page(&snapshot));
        let theirs = times.take(THEIRS, || their_page(&registry));
        let sent = times.take(EXPORT, || {
            metric_requests(Arc::clone(&snapshot))
                .map(|request| request.len())
                .sum::<usize>()
        });
        times.sizes = [bytes, theirs, sent];
        count_more(&mut store, series);
        let reading = pods.read_for_export(&mut store);
        times.take(DELTAS, || deltas.of(reading));
    }
    times
}

/// Containers, by their number.
struct Pods(Vec<Arc<Resource>>);

impl Pods {
    fn new(series: u32) -> Self {
        Self((0..series / OF_ONE).map(pod).collect())
    }

    fn read(&self, store: &Store) -> Reading {
        store.read(2, |owner| self.resolve(owner), Arc::default())
    }

    fn read_for_export(&self, store: &mut Store) -> Reading {
        store.read_for_export(&[], 2, |owner| self.resolve(owner), Arc::default())
    }

    fn resolve(&self, owner: OwnerId) -> Resolution {
        let resource = self.0.get(owner.0 as usize - 1);
        resource.map_or(Resolution::Pending, |resource| {
            Resolution::Ready(Arc::clone(resource))
        })
    }
}

fn labels_of_pod(number: u32) -> [(&'static str, String); 6] {
    [
        ("k8s_namespace_name", format!("namespace-{}", number % 20)),
        ("k8s_pod_name", format!("checkout-7d9c5b7f4-{number:05}")),
        ("k8s_container_name", "checkout".to_owned()),
        ("k8s_workload_name", "checkout".to_owned()),
        ("k8s_workload_kind", "Deployment".to_owned()),
        ("service_name", "checkout".to_owned()),
    ]
}

fn pod(number: u32) -> Arc<Resource> {
    let labels = labels_of_pod(number);
    let attribute = |(label, value): &(&str, String)| {
        let key = label.replace('_', ".");
        (
            Arc::from(key.as_str()),
            Value::Str(Arc::from(value.as_str())),
        )
    };
    Arc::new(Resource {
        attributes: labels.iter().map(attribute).collect(),
        labels: labels
            .iter()
            .map(|(label, value)| (*label, Arc::from(value.as_str())))
            .collect(),
    })
}

fn workload(number: u32) -> String {
    format!("backend-{number}")
}

fn store(series: u32) -> Store {
    let mut store = Store::new(series as usize, Arc::new(Counters::default()));
    count_more(&mut store, series);
    store
}

/// Something new of every series.
fn count_more(store: &mut Store, series: u32) {
    for number in 0..series {
        let (owner, of_one) = (number / OF_ONE, number % OF_ONE);
        let attributes = store.intern(&[
            (Attr::NetworkIoDirection, Value::Static("transmit")),
            (
                Attr::DestinationWorkload,
                Value::Str(Arc::from(workload(of_one))),
            ),
            (Attr::DestinationPort, Value::Int(8080)),
        ]);
        let bytes = i64::from(number) + 1;
        store.add(Metric::TcpIo, OwnerId(owner + 1), attributes, bytes, 1);
    }
}

type TheirLabels = Vec<(String, String)>;

fn registry(pods: &Pods, series: u32) -> Registry {
    let mut registry = Registry::default();
    let family = Family::<TheirLabels, Counter>::default();
    registry.register("wellhead_tcp_io_bytes", "Bytes.", family.clone());
    for number in 0..series {
        let (owner, of_one) = (number / OF_ONE, number % OF_ONE);
        let Some(pod) = pods.0.get(owner as usize) else {
            continue;
        };
        let of_pod = pod.labels.iter();
        let mut labels: TheirLabels = of_pod
            .map(|(label, value)| ((*label).to_owned(), (**value).to_owned()))
            .collect();
        for (attribute, value) in [
            (Attr::NetworkIoDirection, "transmit".to_owned()),
            (Attr::DestinationWorkload, workload(of_one)),
            (Attr::DestinationPort, "8080".to_owned()),
        ] {
            labels.push((attribute.label().to_owned(), value));
        }
        family.get_or_create(&labels).inc_by(u64::from(number));
    }
    registry
}

fn page(snapshot: &Arc<Snapshot>) -> usize {
    let mut page = Page::new(
        Format::OpenMetrics,
        Scope::Left,
        Arc::clone(snapshot),
        Vec::new(),
    );
    let mut bytes = 0;
    loop {
        let mut piece = String::with_capacity(PIECE + PIECE / 4);
        let more = page.write(&mut piece, PIECE);
        bytes += black_box(&piece).len();
        if more != Ok(true) {
            return bytes;
        }
    }
}

fn their_page(registry: &Registry) -> usize {
    let mut page = String::new();
    let written = text::encode(&mut page, registry);
    black_box(written).map_or(0, |()| page.len())
}

const READ: usize = 0;
const ORDER: usize = 1;
const PAGE: usize = 2;
const THEIRS: usize = 3;
const EXPORT: usize = 4;
const DELTAS: usize = 5;
const NAMES: [&str; 6] = [
    "reading the store, which capture waits for",
    "putting that in order",
    "writing the page",
    "prometheus-client: writing its page",
    "OTLP: encoding all requests",
    "OTLP with deltas: the same, putting in order included, all series changed",
];

type Ratio = fn(&Times) -> f64;

/// What is compared with what.
const RATIOS: [(&str, Ratio); 3] = [
    (
        "a scrape, all of it ÷ prometheus-client's page alone",
        |times| times.scrape() / times.milliseconds(THEIRS),
    ),
    ("an OTLP export ÷ a scrape", |times| {
        let sent =
            times.milliseconds(READ) + times.milliseconds(ORDER) + times.milliseconds(EXPORT);
        sent / times.scrape()
    }),
    (
        "an OTLP export of deltas, all series changed ÷ a scrape",
        |times| (times.milliseconds(READ) + times.milliseconds(DELTAS)) / times.scrape(),
    ),
];

#[derive(Default)]
struct Times {
    series: u32,
    taken: [Vec<Duration>; NAMES.len()],
    /// Bytes of the page, of theirs, and of the requests.
    sizes: [usize; 3],
}

impl Times {
    fn take<T>(&mut self, what: usize, act: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = black_box(act());
        if let Some(taken) = self.taken.get_mut(what) {
            taken.push(start.elapsed());
        }
        result
    }

    /// The median.
    fn milliseconds(&self, what: usize) -> f64 {
        let mut taken = self.taken.get(what).cloned().unwrap_or_default();
        taken.sort_unstable();
        let median = taken.get(taken.len() / 2).copied().unwrap_or_default();
        median.as_secs_f64() * 1e3
    }

    fn scrape(&self) -> f64 {
        self.milliseconds(READ) + self.milliseconds(ORDER) + self.milliseconds(PAGE)
    }

    /// What one series costs.
    fn tell(&self) {
        let series = f64::from(self.series);
        let [page, _, sent] = self.sizes.map(|bytes| {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            f64::from(bytes) / series
        });
        let of = |what: &str| format!("{what}, of {} series", self.series);
        items::fact(&of("bytes of a page a series"), page, "By");
        items::fact(&of("bytes of an OTLP export a series"), sent, "By");
        items::fact(&of("a scrape"), self.scrape(), "ms");
    }
}
