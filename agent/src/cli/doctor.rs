//! `wellhead doctor`.

mod table;

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::files::{self, Fault, Files};
use super::{Options, Threads, block_on, print};
use crate::causes::chain;
use crate::config::Config;
use crate::config::budget::USUAL_BUDGET;
use crate::daemon::{BUILD, Settings, socket_path};
use crate::export::otlp::SignalSettings;
use crate::identity::kube::{self, KubernetesMode};
use crate::kernel::{
    Ability, AttachError, Capabilities, Environment, Fact, Feature, FeatureReport, FeatureState,
    FeatureStatus, Probes, restart_status,
};

/// How long a receiver may take to accept a connection.
const REACH: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Report {
    environment: Environment,
    abilities: Vec<Ability>,
    features: Vec<FeatureReport>,
    /// Why nothing could be attached.
    problem: Option<String>,
    exit: Exit,
    kubernetes: String,
    receivers: Vec<(&'static str, String)>,
    /// What the configuration names for TLS.
    files: Vec<Files>,
}

pub(super) fn execute(options: &Options, doctor: &Doctor) -> Result<Exit, Failure> {
    let loaded = options.load_unlogged()?;
    let settings = Settings::new(&loaded.config)
        .map_err(|error| Failure::from(crate::daemon::DaemonError::from(error)))?;
    let kubernetes = block_on(&Threads::COMMAND, async {
        Ok(kubernetes(settings.kubernetes).await)
    })?;
    let (features, problem, mut exit) = attach(&settings);
    let files = files::look(&loaded.config, &settings);
    if exit == Exit::Success && files.iter().any(|files| files.fault.is_some()) {
        exit = Exit::Degraded;
    }
    let mut environment = Environment::probe();
    environment.facts.extend([
        running_agent(&loaded.config.runtime_directory),
        budget(&loaded.config),
    ]);
    let report = Report {
        environment,
        abilities: Ability::all(Capabilities::current().ok()),
        features: FeatureReport::all(&features),
        problem,
        exit,
        kubernetes,
        receivers: receivers(&settings),
        files,
    };
    if doctor.json {
        print(&format!("{:#}\n", to_json(&report)))?;
    } else {
        print(&table::render(&report))?;
    }
    Ok(report.exit)
}

/// Attaches everything for a moment: the only conclusive test.
fn attach(settings: &Settings) -> (Vec<FeatureStatus>, Option<String>, Exit) {
    let mut unpinned = settings.probes.clone();
    unpinned.pin_directory = None;
    match Probes::attach(&unpinned) {
        Ok(Probes {
            mut features,
            without_btf,
            ..
        }) => {
            tell_restart(&mut features, settings, without_btf.as_deref());
            let degraded = features
                .iter()
                .any(|status| status.wanted && status.state != FeatureState::On);
            let exit = if degraded {
                Exit::Degraded
            } else {
                Exit::Success
            };
            (features, None, exit)
        }
        Err(AttachError::Nothing { mut features }) => {
            let problem = "no program could be attached";
            tell_restart(&mut features, settings, Some(problem));
            (features, Some(problem.to_owned()), Exit::Degraded)
        }
        Err(AttachError::NoBtf { why, mut features }) => {
            tell_restart(&mut features, settings, Some(&why.reason()));
            (features, Some(chain(&why)), Exit::Degraded)
        }
        Err(error) => {
            let exit = match error {
                AttachError::Privilege { .. } | AttachError::Refused(_) => Exit::NotPermitted,
                _ => Exit::Degraded,
            };
            (not_tried(settings, &error), Some(chain(&error)), exit)
        }
    }
}

/// Pinning was not tried, so that a daemon's pins are not disturbed: tells whether it would work, or what keeps an agent
/// from trying.
fn tell_restart(features: &mut Vec<FeatureStatus>, settings: &Settings, obstacle: Option<&str>) {
    let directory = settings.probes.pin_directory.as_deref();
    features.retain(|status| status.feature != Feature::Restart);
    features.push(restart_status(directory, obstacle));
    // As the agent lists them.
    features.sort_by_key(|status| Feature::ALL.iter().position(|of| *of == status.feature));
}

/// Every feature, off or unknown for one common reason.
fn not_tried(settings: &Settings, error: &AttachError) -> Vec<FeatureStatus> {
    let reason = chain(error);
    Feature::ALL
        .into_iter()
        .map(|feature| {
            let wanted = settings.probes.wants(feature);
            let state = match error {
                AttachError::Privilege { .. } | AttachError::Refused(_) => {
                    FeatureState::Unknown(reason.clone())
                }
                _ => FeatureState::Off(reason.clone()),
            };
            FeatureStatus {
                feature,
                wanted,
                mechanism: "none",
                state,
                programs: Vec::new(),
            }
        })
        .collect()
}

/// Whether an agent serves in this directory. Its lock is left alone: trying it could keep one from starting.
fn running_agent(directory: &Path) -> Fact {
    let value = match UnixStream::connect(socket_path(directory)) {
        Ok(_) => "running",
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "none",
            _ => "unknown",
        },
    };
    Fact::new("agent", value)
}

/// The memory budget, and whether it is a tight one.
fn budget(config: &Config) -> Fact {
    let fact = Fact::new("memory_budget", config.memory_budget.to_string());
    if config.memory_budget < USUAL_BUDGET {
        fact.with_hint("less than usual: tables are smaller, and events, spans and new series are given up sooner")
    } else {
        fact
    }
}

async fn kubernetes(mode: KubernetesMode) -> String {
    match kube::connect(mode).await {
        Ok(Some(_)) => "credentials found".to_owned(),
        Ok(None) if mode == KubernetesMode::Off => "off".to_owned(),
        Ok(None) => "no cluster found".to_owned(),
        Err(error) => chain(&error),
    }
}

fn receivers(settings: &Settings) -> Vec<(&'static str, String)> {
    let signals = [
        ("metrics", &settings.otlp.metrics),
        ("traces", &settings.otlp.traces),
        ("logs", &settings.otlp.logs),
    ];
    let configured = signals
        .into_iter()
        .filter_map(|(name, signal)| Some((name, signal.as_ref()?)));
    configured
        .map(|(name, signal)| (name, reach(signal)))
        .collect()
}

fn reach(signal: &SignalSettings) -> String {
    let host = signal
        .endpoint
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    let port = signal
        .endpoint
        .port_u16()
        .unwrap_or(if signal.is_secure() { 443 } else { 80 });
    let shown = format!("{host}:{port}");
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return format!("{shown}: {error}"),
    };
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return format!("{shown}: accepts connections"),
            Err(error) => last = error.to_string(),
        }
    }
    format!("{shown}: {last}")
}

fn state(files: &Files) -> &str {
    files.fault.as_ref().map_or("can be used", Fault::text)
}

fn to_json(report: &Report) -> Value {
    let receivers = report.receivers.iter();
    let files = report.files.iter();
    json!({
        "version": BUILD.version,
        "environment": report.environment,
        "abilities": report.abilities,
        "problem": report.problem,
        "features": report.features,
        "kubernetes": report.kubernetes,
        "otlp": receivers.map(|(name, state)| ((*name).to_owned(), Value::from(state.as_str()))).collect::<serde_json::Map<_, _>>(),
        "files": files.map(|files| (files.key.clone(), Value::from(state(files)))).collect::<serde_json::Map<_, _>>(),
    })
}
