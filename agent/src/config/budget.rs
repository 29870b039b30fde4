//! How every bounded structure takes its size from `memory_budget`. The only place that knows.
//!
//! At the default of 128 MiB:
//!
//! | what | entries | memory at most |
//! |---|---|---|
//! | rings | 256 KiB + 2 MiB + 4 MiB + 512 KiB | twice that, their pages are mapped twice |
//! | connections (kernel map) | 65 536 of ~192 bytes | 12 MiB |
//! | what lost records were about (kernel map) | 8 192 of ~192 bytes | 2 MiB |
//! | peers of datagrams, reasons for drops, dropped handshakes (kernel maps) | 8 192 and 1 024 of ~192 bytes, 4 096 of ~96 | 2 MiB |
//! | open connections and their flows | 65 536 of ~112 bytes + 8 192 of ~640 bytes | 12 MiB |
//! | processes, and as many that ended | 10 240 of ~720 bytes | 7 MiB |
//! | cgroups, and the lives of containers in them | 8 192 of ~512 bytes | 4 MiB |
//! | pods | 1 024 of ~2 300 bytes | 2 MiB |
//! | containers, sandboxes, pods' slices, services of the host | 8 192 of ~1.3 KiB, most of it the Resource | 10 MiB |
//! | labels and annotations of pods, if asked for | 2 048 pods of 4 KiB | 8 MiB |
//! | what has an address in the cluster, if told of | 55 296 of ~320 bytes, with two addresses ~490 | 26 MiB |
//! | series | 20 000 of ~1 KiB, or fewer larger ones (`otlp.metrics`) | 20 MiB |
//! | spans and events that wait for their pod, workloads whose events are limited | 2 048 of ~1 KiB + 1 024 of ~256 bytes | 2 MiB |
//! | spans waiting, log records waiting | by bytes | 2 MiB each, and 1 MiB for what was just finished |
//!
//! That is a little over half of it where the cluster is not told of and nodes are as usual, and nearly all where every table is full; the
//! rest is code, exports in flight, and what the allocator keeps.

use super::{ByteSize, Config, OtlpHistograms, OtlpTemporality};

const DEFAULT_BUDGET: u64 = 128 << 20;

/// What nodes usually need, and the default.
pub const USUAL_BUDGET: ByteSize = ByteSize::from_bytes(DEFAULT_BUDGET);

/// Least budget the agent works with. While it starts, the kernel's type information alone takes about half of that.
pub const LEAST_BUDGET: ByteSize = ByteSize::from_mib(64);

/// Part of the budget the rings may take: one in this many bytes.
pub const RING_SHARE: u64 = 4;

/// Least room for spans or log records that wait.
pub const LEAST_QUEUE: ByteSize = ByteSize::from_kib(64);

/// Least disk space for spans or log records that wait.
pub const LEAST_SPILL: ByteSize = ByteSize::from_mib(4);

/// A part of the agent that takes its size from the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The rings, whose pages are mapped twice.
    Rings,
    /// The kernel's tables of open connections, of what lost records were about, of peers of datagrams and of drops. The kernel holds
    /// all of them from the start.
    KernelMaps,
    /// Open connections as the agent knows them.
    Connections,
    /// The process table.
    Processes,
    /// The cgroup table, and that of containers.
    Cgroups,
    /// Pods of this node.
    Pods,
    /// Whom telemetry belongs to, and their Resources.
    Owners,
    /// What has an address in the cluster.
    Cluster,
    /// The series store.
    Series,
    /// Spans that wait for their export.
    Spans,
    /// Log records that wait for their export.
    Logs,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Rings,
        Self::KernelMaps,
        Self::Connections,
        Self::Processes,
        Self::Cgroups,
        Self::Pods,
        Self::Owners,
        Self::Cluster,
        Self::Series,
        Self::Spans,
        Self::Logs,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rings => "rings",
            Self::KernelMaps => "kernel_maps",
            Self::Connections => "connections",
            Self::Processes => "processes",
            Self::Cgroups => "cgroups",
            Self::Pods => "pods",
            Self::Owners => "owners",
            Self::Cluster => "cluster",
            Self::Series => "series",
            Self::Spans => "spans",
            Self::Logs => "logs",
        }
    }

    /// About what one entry takes, bytes; 1 for what is counted in bytes.
    pub const fn entry(self) -> u64 {
        match self {
            Self::Rings | Self::Spans | Self::Logs => 1,
            Self::KernelMaps | Self::Connections => 192,
            Self::Processes => 720,
            Self::Cgroups => 512,
            Self::Pods => 2_300,
            Self::Owners => 1_331,
            Self::Cluster => 490,
            Self::Series => 1 << 10,
        }
    }
}

/// Part of all series that one metric may have: one in so many.
const METRIC_SHARE: u32 = 4;

/// About what a series takes more, a third of them histograms: with exponential buckets beside the explicit ones,
const EXPONENTIAL: u64 = 512;
/// with what was told of it,
const TOLD: u64 = 256;
/// and with both, as what was told has exponential buckets as well, and what it stood at when it was read.
const TOLD_EXPONENTIAL: u64 = 1 << 10;

/// Sizes of everything bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Ring for cgroup events, bytes.
    pub identity_ring: ByteSize,
    /// Ring for process events, bytes.
    pub process_ring: ByteSize,
    /// Ring for connection events, bytes.
    pub network_ring: ByteSize,
    /// Ring for what packets carry, bytes.
    pub payload_ring: ByteSize,
    /// Open connections followed in the kernel, map entries.
    pub connections: u32,
    /// What records that find their ring full are about, map entries.
    pub spill: u32,
    /// Peers with whom datagrams are exchanged, map entries.
    pub udp_flows: u32,
    /// Look-ups of names that wait for their answers.
    pub lookups: u32,
    /// Reasons for drops and whose packets they were, map entries.
    pub drops: u32,
    /// Processes in the process table.
    pub processes: u32,
    /// cgroups in the cgroup table.
    pub cgroups: u32,
    /// Pods of this node, the recently deleted included.
    pub pods: u32,
    /// Whom telemetry belongs to: containers, sandboxes, slices of pods, slices and services of the host, and those that are gone
    /// as long as their series are kept.
    pub owners: u32,
    /// Pods, Services, endpoints and nodes of the cluster, if told of; twice as many addresses.
    pub cluster_objects: u32,
    /// Time series of all metrics together.
    pub series: u32,
    /// Time series of any one metric.
    pub series_per_metric: u32,
    /// About what one takes, bytes.
    pub series_entry: u64,
    /// Finished spans and events that wait for their pod's metadata.
    pub outbox: u32,
    /// Spans waiting for their export, bytes.
    pub span_queue: ByteSize,
    /// Log records waiting for their export, bytes.
    pub log_queue: ByteSize,
}

impl Sizes {
    /// The sizes for a budget: in proportion to it, and a ceiling that no node needs more than.
    /// Rings are powers of two and do not grow beyond their size at 128 MiB, as a ring only holds what comes between two drains.
    pub fn from_budget(budget: ByteSize) -> Self {
        Self {
            identity_ring: ring(budget, 256 << 10),
            process_ring: ring(budget, 2 << 20),
            network_ring: ring(budget, 4 << 20),
            payload_ring: ring(budget, 512 << 10),
            connections: table(budget, 65_536, 4_096..=4_194_304),
            spill: table(budget, 8_192, 1_024..=65_536),
            udp_flows: table(budget, 8_192, 1_024..=262_144),
            drops: table(budget, 1_024, 512..=16_384),
            lookups: table(budget, 4_096, 1_024..=262_144),
            processes: table(budget, 10_240, 2_048..=4_194_304),
            cgroups: table(budget, 8_192, 2_048..=262_144),
            pods: table(budget, 1_024, 512..=16_384),
            owners: table(budget, 8_192, 2_048..=262_144),
            cluster_objects: table(budget, 55_296, 8_192..=4_194_304),
            series: table(budget, 20_000, 1_000..=10_000_000),
            series_per_metric: table(budget, 20_000, 1_000..=10_000_000) / METRIC_SHARE,
            series_entry: Component::Series.entry(),
            outbox: table(budget, 2_048, 512..=65_536),
            span_queue: queue(budget),
            log_queue: queue(budget),
        }
    }

    /// The most that a part of the agent takes, bytes.
    pub fn at_most(&self, component: Component) -> u64 {
        let entries = match component {
            Component::Rings => 2 * self.rings().bytes(),
            // Of handshakes of which a packet was dropped an entry takes less than half of what others do.
            Component::KernelMaps => [
                self.connections,
                self.spill,
                self.udp_flows,
                self.drops,
                self.listeners() / 2,
            ]
            .map(u64::from)
            .iter()
            .sum(),
            Component::Connections => self.connections.into(),
            Component::Processes => self.processes.into(),
            Component::Cgroups => self.cgroups.into(),
            Component::Pods => self.pods.into(),
            Component::Owners => self.owners.into(),
            Component::Cluster => self.cluster_objects.into(),
            Component::Series => {
                return u64::from(self.series).saturating_mul(self.series_entry);
            }
            Component::Spans => self.span_queue.bytes(),
            Component::Logs => self.log_queue.bytes(),
        };
        entries.saturating_mul(component.entry())
    }

    /// Listening ports tracked at once, and what is kept as often in the kernel.
    pub const fn listeners(&self) -> u32 {
        self.connections / 16
    }

    /// The rings together, bytes.
    pub fn rings(&self) -> ByteSize {
        let rings = [
            self.identity_ring,
            self.process_ring,
            self.network_ring,
            self.payload_ring,
        ];
        ByteSize::from_bytes(
            rings
                .iter()
                .fold(0, |sum: u64, ring| sum.saturating_add(ring.bytes())),
        )
    }
}

/// A ring that has `usual` bytes, a power of two, at the default budget and above, and half as many at half of it.
fn ring(budget: ByteSize, usual: u64) -> ByteSize {
    const LEAST: u64 = 64 << 10;
    let halvings = (DEFAULT_BUDGET / budget.bytes().clamp(1, DEFAULT_BUDGET))
        .next_power_of_two()
        .ilog2();
    ByteSize::from_bytes((usual >> halvings).max(LEAST))
}

/// A queue that has 2 MiB at the default budget.
fn queue(budget: ByteSize) -> ByteSize {
    ByteSize::from_bytes((budget.bytes() / 64).clamp(512 << 10, 64 << 20))
}

/// A table that has `usual` entries at the default budget and stays within `bounds`.
fn table(budget: ByteSize, usual: u32, bounds: std::ops::RangeInclusive<u32>) -> u32 {
    let entries = u128::from(usual) * u128::from(budget.bytes()) / u128::from(DEFAULT_BUDGET);
    u32::try_from(entries)
        .unwrap_or(u32::MAX)
        .clamp(*bounds.start(), *bounds.end())
}

impl Config {
    /// The sizes that follow from the budget and from the keys that set one of them.
    pub fn sizes(&self) -> Sizes {
        let usual = Sizes::from_budget(self.memory_budget);
        let series_entry = self.series_entry();
        // As many as have room where as many smaller ones would.
        let room = u64::from(usual.series) * Component::Series.entry() / series_entry;
        let fitting = u32::try_from(room).unwrap_or(u32::MAX);
        let series = self.series_limit.unwrap_or(fitting);
        Sizes {
            identity_ring: self.rings.identity_size.unwrap_or(usual.identity_ring),
            process_ring: self.rings.process_size.unwrap_or(usual.process_ring),
            network_ring: self.rings.network_size.unwrap_or(usual.network_ring),
            payload_ring: self.rings.payload_size.unwrap_or(usual.payload_ring),
            series,
            series_entry,
            series_per_metric: self
                .series_limit_per_metric
                .unwrap_or(series / METRIC_SHARE),
            span_queue: self
                .otlp
                .traces
                .queue_size
                .or(self.otlp.queue_size)
                .unwrap_or(usual.span_queue),
            log_queue: self
                .otlp
                .logs
                .queue_size
                .or(self.otlp.queue_size)
                .unwrap_or(usual.log_queue),
            ..usual
        }
    }

    /// About what a series takes, bytes.
    fn series_entry(&self) -> u64 {
        let metrics = &self.otlp.metrics;
        let is_told = metrics.temporality != OtlpTemporality::Cumulative;
        let is_exponential =
            metrics.histogram_aggregation == OtlpHistograms::Base2ExponentialBucketHistogram;
        if !self.exports_metrics() {
            return Component::Series.entry();
        }
        let parts = [
            (is_exponential, EXPONENTIAL),
            (is_told, TOLD),
            (is_exponential && is_told, TOLD_EXPONENTIAL),
        ];
        let more = parts.iter().filter(|(is_there, _)| *is_there);
        Component::Series.entry() + more.map(|(_, bytes)| bytes).sum::<u64>()
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_raw_string_hashes,
    reason = "expect-test writes its strings so"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_budget_gives_the_documented_sizes() {
        let sizes = Config::default().sizes();
        expect_test::expect![[r#"
            Sizes {
                identity_ring: ByteSize(
                    262144,
                ),
                process_ring: ByteSize(
                    2097152,
                ),
                network_ring: ByteSize(
                    4194304,
                ),
                payload_ring: ByteSize(
                    524288,
                ),
                connections: 65536,
                spill: 8192,
                udp_flows: 8192,
                lookups: 4096,
                drops: 1024,
                processes: 10240,
                cgroups: 8192,
                pods: 1024,
                owners: 8192,
                cluster_objects: 55296,
                series: 20000,
                series_per_metric: 5000,
                series_entry: 1024,
                outbox: 2048,
                span_queue: ByteSize(
                    2097152,
                ),
                log_queue: ByteSize(
                    2097152,
                ),
            }
        "#]]
        .assert_debug_eq(&sizes);
        assert!(sizes.rings() <= ByteSize::from_mib(8));
    }

    #[test]
    fn everything_full_fits_into_the_budget() {
        for mib in [64, 128, 256, 1_024] {
            let budget = ByteSize::from_mib(mib);
            let sizes = Sizes::from_budget(budget);
            let all = Component::ALL.map(|component| sizes.at_most(component));
            let all: u64 = all.iter().sum();
            let most = budget.bytes() * 90 / 100;
            assert!(all <= most, "{mib} MiB: {} MiB", all >> 20);
        }
    }

    #[test]
    fn a_full_node_has_owners_to_spare() {
        // The slice, the sandbox, an init container, the container and its sidecar, and the host's own.
        let full_node = 250 * 5 + 150;
        // A minute's Jobs and restarts, for as long as their series stay.
        let churn = 60 * 5 * 10;
        let sizes = Config::default().sizes();
        assert!(full_node + churn <= sizes.owners && full_node <= sizes.cgroups);
        let least = Sizes::from_budget(LEAST_BUDGET);
        assert!(full_node <= least.owners && full_node <= least.cgroups);
    }

    #[test]
    fn keys_win_over_the_budget() {
        let mut config = Config::default();
        config.rings.process_size = Some(ByteSize::from_kib(4));
        config.series_limit = Some(100);
        config.otlp.queue_size = Some(ByteSize::from_kib(70));
        let sizes = config.sizes();
        assert_eq!(
            (sizes.process_ring, sizes.series, sizes.span_queue),
            (ByteSize::from_kib(4), 100, ByteSize::from_kib(70))
        );
        config.otlp.traces.queue_size = Some(ByteSize::from_kib(90));
        let sizes = config.sizes();
        assert_eq!(
            (sizes.span_queue, sizes.log_queue),
            (ByteSize::from_kib(90), ByteSize::from_kib(70))
        );
    }

    #[test]
    fn larger_series_are_fewer() {
        let mut config = Config::default();
        config.otlp.endpoint = Some("http://h:1".to_owned());
        let mut check = |temporality, histograms, series| {
            config.otlp.metrics.temporality = temporality;
            config.otlp.metrics.histogram_aggregation = histograms;
            let sizes = config.sizes();
            assert_eq!(
                (sizes.series, sizes.series_per_metric),
                (series, series / 4)
            );
            assert!(sizes.at_most(Component::Series) <= 20_000 << 10);
            config.series_limit = Some(100);
            assert_eq!(config.sizes().series, 100);
            config.series_limit = None;
        };
        let exponential = OtlpHistograms::Base2ExponentialBucketHistogram;
        check(
            OtlpTemporality::Cumulative,
            OtlpHistograms::default(),
            20_000,
        );
        check(OtlpTemporality::Delta, OtlpHistograms::default(), 16_000);
        check(
            OtlpTemporality::LowMemory,
            OtlpHistograms::default(),
            16_000,
        );
        check(OtlpTemporality::Cumulative, exponential, 13_333);
        check(OtlpTemporality::Delta, exponential, 7_272);
    }

    fn all(sizes: &Sizes) -> [u64; 14] {
        [
            sizes.identity_ring.bytes(),
            sizes.process_ring.bytes(),
            sizes.network_ring.bytes(),
            sizes.connections.into(),
            sizes.spill.into(),
            sizes.processes.into(),
            sizes.cgroups.into(),
            sizes.pods.into(),
            sizes.owners.into(),
            sizes.cluster_objects.into(),
            sizes.series.into(),
            sizes.outbox.into(),
            sizes.span_queue.bytes(),
            sizes.log_queue.bytes(),
        ]
    }

    proptest! {
        #[test]
        fn a_larger_budget_makes_nothing_smaller(a: u64, b: u64, shift in 0_u32..40) {
            let (a, b) = (a >> shift, b >> shift);
            let small = Sizes::from_budget(ByteSize::from_bytes(a.min(b)));
            let large = Sizes::from_budget(ByteSize::from_bytes(a.max(b)));
            for (small, large) in all(&small).into_iter().zip(all(&large)) {
                prop_assert!(small <= large);
            }
        }

        #[test]
        fn rings_are_powers_of_two_within_their_share(budget in (32_u64 << 20)..(1 << 40)) {
            let sizes = Sizes::from_budget(ByteSize::from_bytes(budget));
            for ring in [sizes.identity_ring, sizes.process_ring, sizes.network_ring] {
                prop_assert!(ring.bytes().is_power_of_two() && ring.bytes() >= 65_536);
            }
            prop_assert!(sizes.rings().bytes() <= budget / RING_SHARE);
            prop_assert!(sizes.rings() <= ByteSize::from_mib(8));
        }
    }
}
