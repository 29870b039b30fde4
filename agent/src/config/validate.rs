//! Checks beyond what types can say.

mod advice;
mod resolver;

use std::num::NonZeroU16;
use std::path::Path as FilePath;

use http::{HeaderName, HeaderValue, Uri};

pub(super) use self::advice::advise;
use super::{
    budget::{LEAST_BUDGET, LEAST_QUEUE, LEAST_SPILL, RING_SHARE},
    error::{Origin, Problem},
    keys::Config,
    node::{Node, Path},
    otlp::{OtlpProtocol, Signal},
    tls::ClientTls,
    value::{ByteSize, Duration, Secret, Toggle},
};

/// Adds everything wrong with `config` to `problems`; `tree` tells where each key was set.
pub(super) fn check(config: &Config, tree: &Node, problems: &mut Vec<Problem>) {
    let mut checks = Checks { tree, problems };
    checks.not_built(config);
    checks.something_wanted(config);
    checks.texts(config);
    checks.limits(config);
    checks.otlp(config);
    checks.dns_ports(config);
    checks.rings(config);
    checks.rings_together(config);
    checks.resolver(config);
    checks.server_tls("prometheus.tls", &config.prometheus.tls);
}

struct Checks<'a> {
    tree: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Checks<'_> {
    fn report(&mut self, path: &Path, message: String) {
        let origin = self.tree.origin(path);
        let problem = Problem {
            origin,
            key: path.to_string(),
            message,
        };
        // A key that was refused before has its default here, and one can be looked at for more than one signal.
        if self.problems.iter().all(|known| known.key != problem.key) {
            self.problems.push(problem);
        }
    }

    fn require(&mut self, fine: bool, key: &str, message: impl FnOnce() -> String) {
        if !fine {
            self.report(&Path::of(key), message());
        }
    }

    fn at_least<T: Copy + PartialOrd + std::fmt::Display>(
        &mut self,
        key: &str,
        value: T,
        least: T,
    ) {
        self.require(value >= least, key, || {
            format!("`{value}` is too little; at least `{least}`")
        });
    }

    fn not_built(&mut self, config: &Config) {
        let features = &config.features;
        let unbuilt: [(&str, Toggle); 3] = [
            ("features.l7", features.l7),
            ("features.tls", features.tls),
            ("traces.l7", config.traces.l7),
        ];
        for (key, toggle) in unbuilt {
            self.require(!toggle.is_on(), key, || {
                "is not built in this version; only `off` is allowed".to_owned()
            });
        }
    }

    fn something_wanted(&mut self, config: &Config) {
        let features = &config.features;
        let all = [
            features.process,
            features.tcp,
            features.udp,
            features.dns,
            features.drops,
        ];
        let wanted = all.iter().any(|toggle| toggle.is_on());
        self.require(wanted, "features", || {
            "nothing would be captured; at least one of `features.process`, `features.tcp`, `features.udp`, `features.dns` and `features.drops` \
             must be `on`"
                .to_owned()
        });
    }

    fn absolute(&mut self, key: &str, path: &FilePath) {
        self.require(path.is_absolute(), key, || {
            format!(
                "`{}` is not absolute; it must start with `/`",
                path.display()
            )
        });
    }

    fn texts(&mut self, config: &Config) {
        self.require(!config.node_name.is_empty(), "node_name", || {
            "must not be empty".to_owned()
        });
        let cluster_named = config
            .cluster_name
            .as_ref()
            .is_none_or(|name| !name.is_empty());
        self.require(cluster_named, "cluster_name", || {
            "must not be empty; leave it out".to_owned()
        });
        self.absolute("runtime_directory", &config.runtime_directory);
        self.absolute("pins.directory", &config.pins.directory);
        if config.resource_attributes.contains_key("") {
            self.report(
                &Path::of("resource_attributes").with(""),
                "an attribute's key must not be empty".to_owned(),
            );
        }
        if config.peers.cidrs.iter().any(|block| block.name.is_empty()) {
            self.report(
                &Path::of("peers.cidrs"),
                "a block's name must not be empty".to_owned(),
            );
        }
    }

    fn limits(&mut self, config: &Config) {
        self.at_least("memory_budget", config.memory_budget, LEAST_BUDGET);
        self.at_least(
            "snapshot_interval",
            config.snapshot_interval,
            Duration::from_secs(1),
        );
        self.at_least(
            "series_idle_timeout",
            config.series_idle_timeout,
            Duration::from_secs(1),
        );
        if let Some(series) = config.series_limit {
            self.at_least("series_limit", series, 100);
        }
        if let Some(series) = config.series_limit_per_metric {
            self.at_least("series_limit_per_metric", series, 10);
        }
        let drain = config.rings.drain_interval;
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(1));
        self.require(
            (shortest..=longest).contains(&drain),
            "rings.drain_interval",
            || format!("`{drain}` is out of range; from `{shortest}` to `{longest}`"),
        );
    }

    fn otlp(&mut self, config: &Config) {
        let otlp = &config.otlp;
        self.export("otlp", Some(otlp.timeout), otlp.interval, otlp.queue_size);
        self.at_least("otlp.spill.size", otlp.spill.size, LEAST_SPILL);
        if let Some(directory) = &otlp.spill.directory {
            self.absolute("otlp.spill.directory", directory);
        }
        self.pair(
            "otlp.tls",
            otlp.tls.cert_file.as_ref(),
            otlp.tls.key_file.as_ref(),
        );
        self.headers("otlp.headers", &otlp.headers);
        self.endpoint("otlp.endpoint", otlp.endpoint.as_deref(), otlp.protocol);
        for (signal, section) in [
            (Signal::Metrics, "otlp.metrics"),
            (Signal::Traces, "otlp.traces"),
            (Signal::Logs, "otlp.logs"),
        ] {
            let own = otlp.overrides(signal);
            self.export(section, own.timeout, own.interval, own.queue_size);
            if let Some(settings) = otlp.settings(signal)
                && (own.tls.cert_file.is_some() || own.tls.key_file.is_some())
            {
                let ClientTls {
                    cert_file,
                    key_file,
                    ..
                } = &settings.tls;
                self.pair(
                    &format!("{section}.tls"),
                    cert_file.as_ref(),
                    key_file.as_ref(),
                );
            }
            self.headers(&format!("{section}.headers"), own.headers.iter().flatten());
            let protocol = own.protocol.unwrap_or(otlp.protocol);
            match &own.endpoint {
                Some(endpoint) => {
                    self.endpoint(&format!("{section}.endpoint"), Some(endpoint), protocol);
                }
                None => self.endpoint("otlp.endpoint", otlp.endpoint.as_deref(), protocol),
            }
        }
    }

    fn export(
        &mut self,
        section: &str,
        timeout: Option<Duration>,
        interval: Option<Duration>,
        queue: Option<ByteSize>,
    ) {
        if let Some(timeout) = timeout {
            self.at_least(
                &format!("{section}.timeout"),
                timeout,
                Duration::from_millis(1),
            );
        }
        if let Some(interval) = interval {
            self.at_least(
                &format!("{section}.interval"),
                interval,
                Duration::from_millis(100),
            );
        }
        if let Some(queue) = queue {
            self.at_least(&format!("{section}.queue_size"), queue, LEAST_QUEUE);
        }
    }

    fn headers<'h>(
        &mut self,
        key: &str,
        headers: impl IntoIterator<Item = (&'h String, &'h Secret)>,
    ) {
        for (name, value) in headers {
            let path = Path::of(key).with(name);
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let allowed = "letters, digits and `-`, among others (RFC 9110 section 5.6.2)";
                self.report(
                    &path,
                    format!("`{name}` is no header name; allowed are {allowed}"),
                );
            } else if HeaderValue::from_str(value.expose()).is_err() {
                self.report(
                    &path,
                    "the value is no header value; allowed are visible ASCII characters and spaces"
                        .to_owned(),
                );
            }
        }
    }

    fn endpoint(&mut self, key: &str, endpoint: Option<&str>, protocol: OtlpProtocol) {
        let Some(endpoint) = endpoint else { return };
        let uri: Option<Uri> = endpoint.parse().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        if authority.is_some_and(|authority| authority.as_str().contains('@')) {
            let message = "must not hold a user or password; use `otlp.headers`, whose values are never shown";
            return self.report(&Path::of(key), message.to_owned());
        }
        if authority.is_some_and(|authority| has_no_port(authority.as_str())) {
            let message = format!("`{endpoint}` has no port from 1 to 65535 after its colon");
            return self.report(&Path::of(key), message);
        }
        let has =
            |uri: &Uri, schemes: &[&str]| schemes.contains(&uri.scheme_str().unwrap_or_default());
        let has_host = uri
            .as_ref()
            .and_then(Uri::host)
            .is_some_and(|host| !host.is_empty());
        let url = uri.as_ref().is_some_and(|uri| has(uri, &["http", "https"]));
        let authority = uri
            .as_ref()
            .is_some_and(|uri| uri.scheme().is_none() && uri.port_u16().is_some());
        match protocol {
            OtlpProtocol::HttpProtobuf => self.require(has_host && url, key, || {
                format!("`{endpoint}` is no URL; with `http/protobuf` write `http://host:4318` or `https://host`")
            }),
            OtlpProtocol::Grpc => self.require(has_host && (url || authority), key, || {
                format!("`{endpoint}` is no URL; with `grpc` write `http://host:4317`, `https://host:4317` or `host:4317`")
            }),
        }
    }

    fn dns_ports(&mut self, config: &Config) {
        let ports = &config.dns.ports;
        let fine = (1..=4).contains(&ports.len());
        self.require(fine, "dns.ports", || {
            format!("{} ports will not do; one to four", ports.len())
        });
    }

    fn rings(&mut self, config: &Config) {
        let page = rustix::param::page_size() as u64;
        let rings = &config.rings;
        let sizes = [
            ("rings.identity_size", rings.identity_size),
            ("rings.process_size", rings.process_size),
            ("rings.network_size", rings.network_size),
            ("rings.payload_size", rings.payload_size),
        ];
        for (key, size) in sizes {
            let Some(size) = size else { continue };
            let fits = size.bytes().is_power_of_two() && size.bytes().is_multiple_of(page);
            self.require(fits && u32::try_from(size.bytes()).is_ok(), key, || {
                let page = ByteSize::from_bytes(page);
                format!(
                    "`{size}` will not do; a power of two from the page size, `{page}`, to `2GiB`"
                )
            });
        }
    }

    fn rings_together(&mut self, config: &Config) {
        // With one of these refused, what they come to together would mislead.
        let refused =
            |problem: &Problem| problem.key.starts_with("rings.") || problem.key == "memory_budget";
        let (rings, budget) = (config.sizes().rings(), config.memory_budget);
        if rings.bytes() <= budget.bytes() / RING_SHARE || self.problems.iter().any(refused) {
            return;
        }
        let keys = [
            "rings.identity_size",
            "rings.process_size",
            "rings.network_size",
            "rings.payload_size",
        ];
        let set = keys
            .into_iter()
            .find(|key| self.tree.origin(&Path::of(key)) != Origin::Default);
        self.report(&Path::of(set.unwrap_or("memory_budget")), format!(
            "the rings take `{rings}` together; at most a quarter of `memory_budget`, which is `{budget}`"
        ));
    }
}

/// Whether what stands where an authority (RFC 3986 section 3.2) has its port is none.
fn has_no_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    // The last colon of an IPv6 address without a port is within its brackets.
    port.is_some_and(|port| !port.ends_with(']') && port.parse::<NonZeroU16>().is_err())
}
