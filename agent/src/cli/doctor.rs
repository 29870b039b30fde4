//! `wellhead doctor`.

use std::fmt::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::{Options, block_on, print};
use crate::causes::chain;
use crate::daemon::{BUILD, Settings};
use crate::export::otlp::SignalSettings;
use crate::identity::kube::{self, KubernetesMode};
use crate::kernel::{
    AttachError, Environment, Feature, FeatureState, FeatureStatus, Probes, restart_status,
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
    features: Vec<FeatureStatus>,
    /// Why nothing could be attached.
    problem: Option<String>,
    exit: Exit,
    kubernetes: String,
    receivers: Vec<(&'static str, String)>,
}

pub(super) fn execute(options: &Options, doctor: &Doctor) -> Result<Exit, Failure> {
    let loaded = options.load_unlogged()?;
    let settings = Settings::new(&loaded.config)
        .map_err(|error| Failure::from(crate::daemon::DaemonError::from(error)))?;
    let kubernetes = block_on(async { Ok(kubernetes(settings.kubernetes).await) })?;
    let (features, problem, exit) = attach(&settings);
    let report = Report {
        environment: Environment::probe(),
        features,
        problem,
        exit,
        kubernetes,
        receivers: receivers(&settings),
    };
    if doctor.json {
        print(&format!("{:#}\n", to_json(&report)));
    } else {
        print(&table(&report));
    }
    Ok(report.exit)
}

/// Attaches everything for a moment: the only conclusive test.
fn attach(settings: &Settings) -> (Vec<FeatureStatus>, Option<String>, Exit) {
    let mut unpinned = settings.probes.clone();
    unpinned.pin_directory = None;
    match Probes::attach(&unpinned) {
        Ok(Probes { mut features, .. }) => {
            // Tried without, so that a daemon's is not disturbed.
            features.retain(|status| status.feature != Feature::Restart);
            features.push(restart_status(settings.probes.pin_directory.as_deref()));
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
        Err(AttachError::Nothing { features }) => (features, None, Exit::Degraded),
        Err(error) => {
            let exit = match error {
                AttachError::Privilege { .. } | AttachError::Refused(_) => Exit::NotPermitted,
                _ => Exit::Degraded,
            };
            (not_tried(settings, &error), Some(chain(&error)), exit)
        }
    }
}

/// Every feature, off or unknown for one common reason.
fn not_tried(settings: &Settings, error: &AttachError) -> Vec<FeatureStatus> {
    let reason = chain(error);
    Feature::ALL
        .into_iter()
        .map(|feature| {
            let wanted =
                feature == Feature::Identity || settings.probes.features.contains(&feature);
            let state = match error {
                AttachError::Privilege { .. } => FeatureState::Unknown(reason.clone()),
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
    let https = signal.endpoint.scheme_str() == Some("https");
    let port = signal
        .endpoint
        .port_u16()
        .unwrap_or(if https { 443 } else { 80 });
    let shown = format!("{host}:{port}");
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return format!("{shown}: {error}"),
    };
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return format!("{shown}: reachable"),
            Err(error) => last = error.to_string(),
        }
    }
    format!("{shown}: {last}")
}

fn to_json(report: &Report) -> Value {
    let receivers = report.receivers.iter();
    json!({
        "version": BUILD.version,
        "environment": report.environment,
        "problem": report.problem,
        "features": report.features.iter().map(feature_json).collect::<Vec<_>>(),
        "kubernetes": report.kubernetes,
        "otlp": receivers.map(|(name, state)| ((*name).to_owned(), Value::from(state.as_str()))).collect::<serde_json::Map<_, _>>(),
    })
}

fn feature_json(status: &FeatureStatus) -> Value {
    let needed = status
        .feature
        .capabilities()
        .iter()
        .map(ToString::to_string);
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["capabilities"] = needed.collect();
    value
}

fn table(report: &Report) -> String {
    let Environment {
        kernel,
        btf,
        cgroups,
        tracefs,
        lockdown,
        missing_capabilities,
    } = &report.environment;
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{name:<14}{value}");
    };
    row("kernel", kernel);
    row("BTF", yes_no(*btf));
    row("cgroups", &format!("{cgroups:?}").to_lowercase());
    row("tracefs", &format!("{} (not needed)", yes_no(*tracefs)));
    row(
        "lockdown",
        if lockdown.is_empty() {
            "unknown"
        } else {
            lockdown
        },
    );
    let capabilities = if missing_capabilities.is_empty() {
        "none missing".to_owned()
    } else {
        format!("missing {}", missing_capabilities.join(", "))
    };
    row("capabilities", &capabilities);
    row("kubernetes", &report.kubernetes);
    for (signal, state) in &report.receivers {
        row(&format!("otlp {signal}"), state);
    }
    if let Some(problem) = &report.problem {
        row("problem", problem);
    }
    let _infallible = writeln!(
        text,
        "\n{:<10}{:<9}{:<11}WHY",
        "FEATURE", "STATE", "MECHANISM"
    );
    for status in &report.features {
        let why = match &status.state {
            FeatureState::On => "",
            FeatureState::Off(why) | FeatureState::Unknown(why) => why,
        };
        let (feature, state) = (status.feature.as_str(), status.state.as_str());
        let line = format!("{feature:<10}{state:<9}{:<11}{why}", status.mechanism);
        let _infallible = writeln!(text, "{}", line.trim_end());
        for program in &status.programs {
            let state = program.problem.as_deref().unwrap_or("attached");
            let _infallible = writeln!(text, "  {:<28}{state}", program.program);
        }
    }
    text
}
