//! What a scrape and an export of many series cost, beside what `prometheus-client` takes for the same page: all in one
//! process, one after the other and over again, so that what else the machine does meets all alike.
//!
//! `cargo xtask bench` runs it. Times are this machine's; the ratios are what counts.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use wellhead::counters::Counters;
use wellhead::export::otlp::{DeltaRequests, metric_requests};
use wellhead::export::prometheus::negotiation::Format;
use wellhead::export::prometheus::page::{Page, Scope};
use wellhead::identity::{OwnerId, Resolution, Resource, Value};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead::telemetry::store::{Reading, Store};

const SERIES: u32 = 100_000;
/// Series of one container.
const OF_ONE: u32 = 100;
const ROUNDS: usize = 15;
/// As the endpoint writes a page.
const PIECE: usize = 64 << 10;

fn main() {
    let pods = Pods::new();
    let mut store = store();
    let mut deltas = DeltaRequests::default();
    drop(deltas.of(pods.read_for_export(&mut store)));
    let registry = registry(&pods);
    let mut times = Times::default();
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
        count_more(&mut store);
        let reading = pods.read_for_export(&mut store);
        times.take(DELTAS, || deltas.of(reading));
    }
    times.print();
}

/// Containers, by their number.
struct Pods(Vec<Arc<Resource>>);

impl Pods {
    fn new() -> Self {
        Self((0..SERIES / OF_ONE).map(pod).collect())
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

fn store() -> Store {
    let mut store = Store::new(SERIES as usize, Arc::new(Counters::default()));
    count_more(&mut store);
    store
}

/// Something new of every series.
fn count_more(store: &mut Store) {
    for number in 0..SERIES {
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

fn registry(pods: &Pods) -> Registry {
    let mut registry = Registry::default();
    let family = Family::<TheirLabels, Counter>::default();
    registry.register("wellhead_tcp_io_bytes", "Bytes.", family.clone());
    for number in 0..SERIES {
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

#[derive(Default)]
struct Times {
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

    fn median(&self, what: usize) -> Duration {
        let mut taken = self.taken.get(what).cloned().unwrap_or_default();
        taken.sort_unstable();
        taken.get(taken.len() / 2).copied().unwrap_or_default()
    }

    fn print(&self) {
        println!("{SERIES} series, median of {ROUNDS} rounds:");
        for (what, name) in NAMES.iter().enumerate() {
            println!("{:>9.1} ms  {name}", self.median(what).as_secs_f64() * 1e3);
        }
        let [page, theirs, sent] = self.sizes;
        println!("bytes: page {page}, prometheus-client's {theirs}, OTLP {sent}");
        let scrape = self.median(READ) + self.median(ORDER) + self.median(PAGE);
        let export = self.median(READ) + self.median(ORDER) + self.median(EXPORT);
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!(
            "a scrape, all of it ÷ prometheus-client's page: {:.2}",
            ratio(scrape, self.median(THEIRS))
        );
        println!("an OTLP export ÷ a scrape: {:.2}", ratio(export, scrape));
        let deltas = self.median(READ) + self.median(DELTAS);
        println!("one of deltas ÷ a scrape: {:.2}", ratio(deltas, scrape));
    }
}
