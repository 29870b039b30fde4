//! What is allowed and will not do what its author may think.

use std::path::PathBuf;

use super::Checks;
use crate::config::budget::Component;
use crate::config::error::Problem;
use crate::config::events::Events;
use crate::config::keys::{Config, TraceSampling};
use crate::config::kubernetes::KubernetesMode;
use crate::config::node::Node;
use crate::config::otlp::{OtlpHistograms, OtlpTemporality, Signal};
use crate::config::value::ByteSize;

/// Adds to `warnings` what is allowed and yet without effect, or unwise.
pub(in crate::config) fn advise(config: &Config, tree: &Node, warnings: &mut Vec<Problem>) {
    let traces = &config.traces;
    let nowhere = config.otlp.settings(Signal::Traces).is_none();
    let mut checks = Checks {
        tree,
        problems: warnings,
    };
    checks.metrics_unexported(config);
    for (key, spans) in [
        ("traces.process", traces.process),
        ("traces.tcp", traces.tcp),
        ("traces.agent", traces.agent),
    ] {
        checks.require(!(nowhere && spans.is_on()), key, || {
            "has no effect: spans go out over OTLP only, and `otlp.endpoint` is not set".to_owned()
        });
    }
    checks.spans_of_nothing(config);
    let nowhere = config.otlp.settings(Signal::Logs).is_none();
    checks.require(!(nowhere && config.exports_events()), "events.export", || {
        "has no effect: events are exported over OTLP only, and neither `otlp.endpoint` nor `otlp.logs.endpoint` is set".to_owned()
    });
    checks.require(
        !(nowhere && config.log.export.is_on()),
        "log.export",
        || "has no effect: neither `otlp.endpoint` nor `otlp.logs.endpoint` is set".to_owned(),
    );
    let unused = !config.exports_events() && !config.events.kinds.is_empty();
    checks.require(!unused, "events.kinds", || {
        "has no effect: `events.export` is not `on`".to_owned()
    });
    let usual = Events::default().rate_limit;
    let unused = !config.exports_events() && config.events.rate_limit != usual;
    checks.require(!unused, "events.rate_limit", || {
        "has no effect: `events.export` is not `on`".to_owned()
    });
    checks.series(config);
    checks.queues(config);
    checks.without_tls(config);
    checks.without_kubernetes(config);
    checks.unused_by_resolver(config);
    checks.token_in_the_clear(config);
}

impl Checks<'_> {
    /// Spans of what is not captured, and which are exported of spans that are not made.
    fn spans_of_nothing(&mut self, config: &Config) {
        let (features, traces) = (&config.features, &config.traces);
        for (key, spans, feature, captured) in [
            (
                "traces.process",
                traces.process,
                "process",
                features.process,
            ),
            ("traces.tcp", traces.tcp, "tcp", features.tcp),
        ] {
            let fine = captured.is_on() || !spans.is_on();
            self.require(fine, key, || {
                format!("has no effect: `features.{feature}` is `off`")
            });
        }
        let usual = TraceSampling::default();
        for (key, is_usual) in [
            (
                "traces.sampling.process",
                traces.sampling.process == usual.process,
            ),
            (
                "traces.sampling.slow_process",
                traces.sampling.slow_process == usual.slow_process,
            ),
        ] {
            self.require(traces.process.is_on() || is_usual, key, || {
                "has no effect: `traces.process` is not `on`".to_owned()
            });
        }
    }

    /// Limits on series that are larger than what else is set has room for.
    fn series(&mut self, config: &Config) {
        let sizes = config.sizes();
        let (all, budget) = (sizes.at_most(Component::Series), config.memory_budget);
        self.require(all <= budget.bytes() / 2, "series_limit", || {
            let all = ByteSize::from_bytes(all);
            format!("so many series take up to `{all}`, more than half of `memory_budget`, `{budget}`: raise that too")
        });
        let fine = sizes.series_per_metric <= sizes.series;
        self.require(fine, "series_limit_per_metric", || {
            format!("has no effect: `series_limit` is `{}`", sizes.series)
        });
    }

    /// Room for what waits that is far beyond what the budget has for it.
    fn queues(&mut self, config: &Config) {
        let sizes = config.sizes();
        let budget = config.memory_budget;
        for (signal, key, queue) in [
            (Signal::Traces, "otlp.traces.queue_size", sizes.span_queue),
            (Signal::Logs, "otlp.logs.queue_size", sizes.log_queue),
        ] {
            let own = config.otlp.overrides(signal).queue_size.is_some();
            let key = if own { key } else { "otlp.queue_size" };
            self.require(queue.bytes() <= budget.bytes() / 4, key, || {
                format!("`{queue}` is more than a quarter of `memory_budget`, `{budget}`: raise that too, or let more wait on disk (`otlp.spill.directory`)")
            });
        }
    }

    /// How metrics are told, where they are told to nobody.
    fn metrics_unexported(&mut self, config: &Config) {
        let metrics = &config.otlp.metrics;
        let nowhere = !config.exports_metrics();
        for (key, usual) in [
            (
                "temporality",
                metrics.temporality == OtlpTemporality::default(),
            ),
            (
                "histogram_aggregation",
                metrics.histogram_aggregation == OtlpHistograms::default(),
            ),
        ] {
            self.require(!nowhere || usual, &format!("otlp.metrics.{key}"), || {
                "has no effect: `otlp.endpoint` is not set".to_owned()
            });
        }
    }

    /// Files for TLS where there is none.
    fn without_tls(&mut self, config: &Config) {
        let sections = [
            (Signal::Metrics, "otlp.metrics.tls"),
            (Signal::Traces, "otlp.traces.tls"),
            (Signal::Logs, "otlp.logs.tls"),
        ];
        let is_plain = |signal| {
            let settings = config.otlp.settings(signal);
            settings.is_none_or(|settings| settings.endpoint.as_str().starts_with("http://"))
        };
        let why = "the endpoint is no `https` URL";
        let nowhere = sections.iter().all(|(signal, _)| is_plain(*signal));
        let tls = &config.otlp.tls;
        let files = [&tls.ca_file, &tls.cert_file, &tls.key_file];
        self.unused_files(nowhere, "otlp.tls", files, why);
        for (signal, section) in sections {
            let own = &config.otlp.overrides(signal).tls;
            let files = [&own.ca_file, &own.cert_file, &own.key_file];
            self.unused_files(is_plain(signal), section, files, why);
        }
    }

    /// Files for TLS, in the order authorities, certificate, key, where they are of no use.
    pub(super) fn unused_files(
        &mut self,
        unused: bool,
        section: &str,
        files: [&Option<PathBuf>; 3],
        why: &str,
    ) {
        for (name, file) in ["ca_file", "cert_file", "key_file"].iter().zip(files) {
            let fine = !unused || file.is_none();
            self.require(fine, &format!("{section}.{name}"), || {
                format!("has no effect: {why}")
            });
        }
    }

    /// A token that everybody on the way can read.
    fn token_in_the_clear(&mut self, config: &Config) {
        let prometheus = &config.prometheus;
        let clear = prometheus.tls.cert_file.is_none() && !prometheus.listen.is_loopback();
        let fine = !clear || prometheus.bearer_token_file.is_none();
        self.require(fine, "prometheus.bearer_token_file", || {
            "the token is sent in the clear: `prometheus.tls` is not set".to_owned()
        });
    }

    /// What is set of Kubernetes where it is off.
    fn without_kubernetes(&mut self, config: &Config) {
        let kubernetes = &config.kubernetes;
        let off = kubernetes.mode == KubernetesMode::Off;
        for (key, patterns) in [
            ("kubernetes.labels", &kubernetes.labels),
            ("kubernetes.annotations", &kubernetes.annotations),
        ] {
            self.require(!off || patterns.is_empty(), key, || {
                "has no effect: `kubernetes.mode` is `off`".to_owned()
            });
        }
        for (key, patterns) in [
            (
                "kubernetes.namespaces.include",
                &kubernetes.namespaces.include,
            ),
            (
                "kubernetes.namespaces.exclude",
                &kubernetes.namespaces.exclude,
            ),
        ] {
            self.require(!off || patterns.is_empty(), key, || {
                "has no effect: `kubernetes.mode` is `off`".to_owned()
            });
        }
    }
}
