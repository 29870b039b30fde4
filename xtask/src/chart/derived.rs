//! What follows from values in objects of any kind: who may read metrics, and where telemetry may go.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::NEWEST;
use super::helm::Helm;

/// Values, each as an argument of `--set-json`; the kind of an object, where to look in the first one, and what is there.
type Row = (
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

const TLS: &str = "metrics.tls.secretName=\"cert\"";
const CLIENTS: &str = "metrics.tls.clientCaSecret.name=\"ca\"";
const TOKEN: &str = "metrics.tokenSecret={\"name\":\"token\",\"key\":\"k\"}";
const RESOLVER: &str = "resolver.enabled=true";
const MONITOR: &str = "podMonitor={\"enabled\":true,\"tlsConfig\":{\"serverName\":\"wellhead\"}}";
const POLICY: &str = "networkPolicy.enabled=true";

const CONTAINER: &str = "/spec/template/spec/containers/0";

/// Of agents and of resolvers alike.
const READERS: [(&str, &str, &str); 9] = [
    (
        "",
        "/livenessProbe/httpGet",
        "{\"path\":\"/healthz\",\"port\":\"metrics\"}",
    ),
    (TLS, "/startupProbe/httpGet/scheme", "\"HTTPS\""),
    (TLS, "/livenessProbe/httpGet/scheme", "\"HTTPS\""),
    (TLS, "/readinessProbe/httpGet/scheme", "\"HTTPS\""),
    (
        TLS,
        "WELLHEAD_PROMETHEUS_TLS_CERT_FILE",
        "/etc/wellhead-metrics-tls/tls.crt",
    ),
    (
        TLS,
        "WELLHEAD_PROMETHEUS_TLS_KEY_FILE",
        "/etc/wellhead-metrics-tls/tls.key",
    ),
    (TLS, "WELLHEAD_PROMETHEUS_TLS_CLIENT_CA_FILE", ""),
    (
        CLIENTS,
        "WELLHEAD_PROMETHEUS_TLS_CLIENT_CA_FILE",
        "/etc/wellhead-metrics-ca/ca.crt",
    ),
    (
        TOKEN,
        "WELLHEAD_PROMETHEUS_BEARER_TOKEN_FILE",
        "/etc/wellhead-metrics-token/token",
    ),
];

const ROWS: [Row; 17] = [
    (
        &[MONITOR],
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/scheme",
        "null",
    ),
    (
        &[MONITOR],
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/tlsConfig",
        "null",
    ),
    (
        &[MONITOR],
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/authorization",
        "null",
    ),
    (
        &[MONITOR, TLS],
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/scheme",
        "\"https\"",
    ),
    (
        &[MONITOR, TLS],
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/tlsConfig",
        "{\"serverName\":\"wellhead\"}",
    ),
    (
        &[MONITOR, TOKEN],
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/authorization",
        "{\"credentials\":{\"name\":\"token\",\"key\":\"k\"}}",
    ),
    (
        &["metrics.annotations=true"],
        "DaemonSet",
        "/spec/template/metadata/annotations/prometheus.io~1scheme",
        "null",
    ),
    (
        &["metrics.annotations=true", TLS],
        "DaemonSet",
        "/spec/template/metadata/annotations/prometheus.io~1scheme",
        "\"https\"",
    ),
    (&[POLICY], "NetworkPolicy", "/spec/egress/2", "null"),
    (
        &[POLICY, "otlp.endpoint=\"http://$(HOST_IP):4318\""],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":4318}]",
    ),
    (
        &[POLICY, "config.otlp.endpoint=\"https://otlp.example/base\""],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":443}]",
    ),
    // The value is a variable, which wins over the file.
    (
        &[
            POLICY,
            "otlp.endpoint=\"http://a\"",
            "config.otlp.endpoint=\"http://b:1\"",
        ],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":80}]",
    ),
    (
        &[
            POLICY,
            "config.otlp={\"endpoint\":\"http://[::1]:4317\",\"protocol\":\"grpc\",\"traces\":{\"endpoint\":\"t:4317\"}}",
        ],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":4317}]",
    ),
    (
        &[
            POLICY,
            "config.otlp={\"metrics\":{\"endpoint\":\"http://m:9090/api?x=:1/\"},\"logs\":{\"endpoint\":\"https://l:8443\"}}",
        ],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":9090},{\"port\":8443}]",
    ),
    (
        &[
            POLICY,
            "env=[{\"name\":\"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT\",\"value\":\"http://t:7\"},{\"name\":\"A\",\"value\":\"b:8\"}]",
        ],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":7}]",
    ),
    (
        &[
            POLICY,
            "config.kubernetes.resolver=\"https://r.example:9443\"",
        ],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":9443}]",
    ),
    (
        &[POLICY, RESOLVER],
        "NetworkPolicy",
        "/spec/egress/2/ports",
        "[{\"port\":7443}]",
    ),
];

/// Checks them all.
pub(super) fn check(helm: &Helm, chart: &Path) -> Result<()> {
    for (values, kind, pointer, expected) in ROWS {
        let objects = render(helm, chart, values)?;
        let found = first(&objects, kind).and_then(|object| object.pointer(pointer));
        let found = serde_json::to_string(found.unwrap_or(&Value::Null))?;
        ensure!(
            found == expected,
            "with {values:?}, {pointer} of the {kind} is {found} and not {expected}"
        );
    }
    for (value, what, expected) in READERS {
        let values: Vec<&str> = [RESOLVER, TLS, value]
            .into_iter()
            .filter(|given| !given.is_empty() && (*given != TLS || !value.is_empty()))
            .collect();
        let objects = render(helm, chart, &values)?;
        for kind in ["DaemonSet", "Deployment"] {
            let container = first(&objects, kind).and_then(|object| object.pointer(CONTAINER));
            let found = container.map(|container| told(container, what));
            let found = found.transpose()?.unwrap_or_default();
            ensure!(
                found == expected,
                "with {values:?}, {what} of the {kind} is {found} and not {expected}"
            );
        }
    }
    Ok(())
}

/// What is in a container at a pointer, or the value of a variable.
fn told(container: &Value, what: &str) -> Result<String> {
    if what.starts_with('/') {
        let found = container.pointer(what).unwrap_or(&Value::Null);
        return Ok(serde_json::to_string(found)?);
    }
    let mut variables = container["env"].as_array().into_iter().flatten();
    let variable = variables.find(|variable| variable["name"] == what);
    let Some(path) = variable.and_then(|variable| variable["value"].as_str()) else {
        return Ok(String::new());
    };
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let directory = Path::new(path).parent();
    let is_there = |mount: &Value| {
        let mounted = mount["mountPath"].as_str().map(Path::new);
        mounted == directory && mount["readOnly"] == true
    };
    ensure!(mounts.any(is_there), "{path} is not mounted for reading");
    Ok(path.to_owned())
}

fn render(helm: &Helm, chart: &Path, values: &[&str]) -> Result<Vec<Value>> {
    let args: Vec<&str> = values
        .iter()
        .flat_map(|value| ["--set-json", value])
        .collect();
    helm.template(chart, NEWEST, &args)
}

fn first<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind)
}
