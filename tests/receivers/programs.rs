//! The receivers, each started with what a test needs of it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::{env, io, thread};

use crate::query::{ask, series};
use crate::server::{Server, free_port, write};
use crate::support::{self, Need, text};
use wellhead_tests::hostile::Samples;

const ROTEL: &str = "WELLHEAD_TEST_ROTEL";
const VICTORIA_METRICS: &str = "WELLHEAD_TEST_VICTORIA_METRICS";
const PROMETHEUS: &str = "WELLHEAD_TEST_PROMETHEUS";
const COLLECTOR: &str = "WELLHEAD_TEST_COLLECTOR";

/// Whether tests can run here. If not, why not has been said. What takes minutes to build is not needed.
pub(crate) fn ready() -> bool {
    let mut needed = [ROTEL, VICTORIA_METRICS, PROMETHEUS].into_iter();
    let Some(missing) = needed.find(|variable| env::var_os(variable).is_none()) else {
        return support::ready(&[Need::Python]);
    };
    skip(&format!(
        "{missing} is not set; `cargo xtask test receivers` sets it"
    ));
    false
}

/// Says what does not happen.
fn skip(why: &str) {
    let test = thread::current();
    let test = test.name().unwrap_or("a test");
    // Not by a macro of print: those are kept from sight while tests succeed.
    drop(writeln!(io::stderr(), "SKIPPED: {test} because {why}"));
}

/// A program that [`ready`] has looked for.
fn program(variable: &str) -> Command {
    Command::new(env::var_os(variable).expect("looked for before"))
}

/// Where a collector passes telemetry on to: URLs.
#[derive(Debug, Default)]
pub(crate) struct Onward {
    pub(crate) metrics: Option<String>,
    pub(crate) traces: Option<String>,
    pub(crate) logs: Option<String>,
}

/// A collector that takes OTLP.
#[derive(Debug)]
pub(crate) struct Collecting {
    pub(crate) server: Server,
    port: u16,
}

impl Collecting {
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Onward {
    fn signals(&self) -> [(&'static str, Option<&String>); 3] {
        [
            ("metrics", self.metrics.as_ref()),
            ("traces", self.traces.as_ref()),
            ("logs", self.logs.as_ref()),
        ]
    }
}

/// An OpenTelemetry Collector that takes OTLP over gRPC, if there is one.
pub(crate) fn collector(onward: &Onward) -> Option<Collecting> {
    let Some(program) = env::var_os(COLLECTOR) else {
        skip(&format!(
            "{COLLECTOR} is not set, as far as the Collector goes"
        ));
        return None;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let mut text = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
         exporters:\n  debug: {{verbosity: basic, sampling_initial: 1000000}}\n  otlp_http:\n"
    );
    let mut pipelines = String::new();
    for (signal, url) in onward.signals() {
        let Some(url) = url else { continue };
        writeln!(text, "    {signal}_endpoint: '{url}'").expect("written");
        writeln!(
            pipelines,
            "    {signal}: {{receivers: [otlp], exporters: [debug, otlp_http]}}"
        )
        .expect("written");
    }
    text += "service:\n  telemetry: {metrics: {level: none}}\n  pipelines:\n";
    text += &pipelines;
    let file = write(directory.path(), "collector.yaml", &text);
    let server = Server::start(
        directory,
        Command::new(program).arg("--config").arg(file),
        port,
    );
    Some(Collecting { server, port })
}

/// Rotel, taking OTLP over HTTP.
pub(crate) fn rotel(onward: &Onward) -> Collecting {
    let directory = tempfile::tempdir().expect("a directory");
    let (port, grpc) = (free_port(), free_port());
    let mut command = program(ROTEL);
    command
        .args(["start", "--exporter", "otlp"])
        .args(["--otlp-exporter-protocol", "http"])
        .args(["--otlp-http-endpoint", &format!("127.0.0.1:{port}")])
        .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
        .args(["--pid-file", "pid", "--log-file", "own-log"]);
    // It wants to know of every signal where to send it, also of those that nobody sends to it.
    let nowhere = "http://127.0.0.1:9".to_owned();
    for (signal, url) in onward.signals() {
        let url = url.unwrap_or(&nowhere);
        command.args([&format!("--otlp-exporter-{signal}-endpoint"), url]);
    }
    let server = Server::start(directory, &mut command, port);
    Collecting { server, port }
}

/// A VictoriaMetrics of which everything can be asked as soon as it has it.
#[derive(Debug)]
pub(crate) struct VictoriaMetrics {
    _server: Server,
    pub(crate) port: u16,
}

impl VictoriaMetrics {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let mut command = program(VICTORIA_METRICS);
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg("-storageDataPath=data")
            .arg("-opentelemetry.usePrometheusNaming")
            .arg("-search.latencyOffset=0s")
            .arg("-search.disableCache")
            .arg("-memory.allowedBytes=64MB");
        Self {
            _server: Server::start(directory, &mut command, port),
            port,
        }
    }

    /// Where it takes metrics over OTLP.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/opentelemetry/v1/metrics", self.port)
    }
}

/// Something that Prometheus scrapes in one way.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) scrape: Scrape,
}

/// A way, in the words of its configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scrape {
    pub(crate) protocol: &'static str,
    /// How names are escaped.
    pub(crate) escaping: &'static str,
}

impl Scrape {
    /// The formats that the agent has as well.
    pub(crate) const PROTOCOLS: [&'static str; 3] = [
        "OpenMetricsText1.0.0",
        "PrometheusText1.0.0",
        "PrometheusText0.0.4",
    ];

    /// One for each format.
    pub(crate) fn in_all_formats() -> [Self; 3] {
        Self::PROTOCOLS.map(|protocol| Self {
            protocol,
            escaping: "allow-utf-8",
        })
    }
}

/// The label by which it knows a target; no page has it.
const TARGET: &str = "wellhead_test_target";

/// A Prometheus that scrapes.
#[derive(Debug)]
pub(crate) struct Prometheus {
    _server: Server,
    pub(crate) port: u16,
}

impl Prometheus {
    pub(crate) fn start(targets: &[Target]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let interval = "1s";
        let mut text = format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\nscrape_configs:\n"
        );
        for target in targets {
            let Target {
                name,
                address,
                scrape: Scrape { protocol, escaping },
            } = target;
            // Labels that a page has itself stay as they are.
            writeln!(
                text,
                "- {{job_name: '{name}', honor_labels: true, scrape_protocols: [{protocol}], \
                 metric_name_escaping_scheme: {escaping}, static_configs: [{{targets: ['{address}'], labels: {{{TARGET}: '{name}'}}}}]}}"
            )
            .expect("written");
        }
        let file = write(directory.path(), "prometheus.yaml", &text);
        let option = |name: &str, value: OsString| {
            let mut option = OsString::from(format!("--{name}="));
            option.push(value);
            option
        };
        let port = free_port();
        let mut command = program(PROMETHEUS);
        command
            .arg(option("config.file", file.into()))
            .arg(option("storage.tsdb.path", "data".into()))
            .arg(option(
                "web.listen-address",
                format!("127.0.0.1:{port}").into(),
            ))
            .arg("--log.level=warn");
        Self {
            _server: Server::start(directory, &mut command, port),
            port,
        }
    }
    /// What it has of a target now, with the labels of its page. A selector leaves out some of it.
    pub(crate) fn samples(&self, target: &Target, selector: &str) -> Samples {
        let Target { name, address, .. } = target;
        let query = format!("{{{TARGET}=\"{name}\",__name__!~\"up|scrape_.+\",{selector}}}");
        let own = [
            (TARGET, name.clone()),
            ("job", name.clone()),
            ("instance", address.to_string()),
        ];
        let found = series(self.port, &query).into_iter();
        let found = found.map(|((name, mut labels), value)| {
            labels.retain(|label, value| {
                let is_own = |(own, of_own): &(&str, String)| label == own && value == of_own;
                !own.iter().any(is_own)
            });
            ((name, labels), value)
        });
        found.collect()
    }

    /// Why it refuses what a target shows.
    pub(crate) fn complaint(&self, target: &Target) -> String {
        let targets = ask(self.port, "/api/v1/targets");
        let targets = targets["data"]["activeTargets"].as_array().cloned();
        let all = targets.unwrap_or_default();
        let ours = all.iter().find(|one| one["scrapePool"] == target.name);
        ours.map(|one| text(one, "lastError").to_owned())
            .unwrap_or_default()
    }
}
