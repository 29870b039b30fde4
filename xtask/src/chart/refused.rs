//! Values that Helm has to refuse, before anything reaches a cluster.

use std::path::Path;

use anyhow::{Result, bail};

use super::helm::Helm;

/// A value, as an argument of `--set-json`, and what Helm has to say of it.
type Row = (&'static str, &'static [&'static str]);

const ROWS: [Row; 46] = [
    // What is not there.
    ("unknown=1", &["unknown"]),
    ("image.name=\"a\"", &["image", "name"]),
    (
        "config.memory_budgett=\"128MiB\"",
        &["config", "memory_budgett"],
    ),
    ("config.features.sctp=\"on\"", &["config.features", "sctp"]),
    ("resolver.port2=1", &["resolver", "port2"]),
    ("resources.limit={}", &["resources", "limit"]),
    (
        "updateStrategy.maxUnavailable=1",
        &["updateStrategy", "maxUnavailable"],
    ),
    // What the chart sets by itself.
    ("config.node_name=\"a\"", &["config", "node_name"]),
    (
        "config.prometheus.listen=\"0.0.0.0:1\"",
        &["config.prometheus", "listen"],
    ),
    (
        "config.prometheus.tls.cert_file=\"/a\"",
        &["config.prometheus", "tls"],
    ),
    (
        "config.prometheus.bearer_token_file=\"/a\"",
        &["config.prometheus", "bearer_token_file"],
    ),
    (
        "config.runtime_directory=\"/a\"",
        &["config", "runtime_directory"],
    ),
    // What is not built.
    ("config.features.l7=\"on\"", &["config.features.l7", "off"]),
    ("config.traces.l7=true", &["config.traces.l7", "off"]),
    // Choices.
    (
        "config.features.tcp=\"yes\"",
        &["config.features.tcp", "on", "off"],
    ),
    (
        "config.log.level=\"verbose\"",
        &["config.log.level", "warn"],
    ),
    (
        "config.kubernetes.mode=\"on\"",
        &["config.kubernetes.mode", "required"],
    ),
    (
        "config.otlp.protocol=\"http/json\"",
        &["config.otlp.protocol", "grpc"],
    ),
    (
        "otlp.protocol=\"http\"",
        &["otlp.protocol", "http/protobuf"],
    ),
    (
        "image.pullPolicy=\"Sometimes\"",
        &["image.pullPolicy", "IfNotPresent"],
    ),
    (
        "seccompProfile.type=\"None\"",
        &["seccompProfile.type", "RuntimeDefault"],
    ),
    (
        "appArmorProfile=\"None\"",
        &["appArmorProfile", "Unconfined"],
    ),
    ("dnsPolicy=\"None\"", &["dnsPolicy", "ClusterFirst"]),
    (
        "extraCapabilities=[\"CAP_NET_ADMIN\"]",
        &["extraCapabilities", "NET_ADMIN"],
    ),
    // Sizes, durations, quantities.
    (
        "config.memory_budget=\"128Mi\"",
        &["config.memory_budget", "pattern"],
    ),
    ("config.memory_budget=\"\"", &["config.memory_budget"]),
    (
        "config.shutdown_grace=5",
        &["config.shutdown_grace", "string"],
    ),
    (
        "config.snapshot_interval=\"10 s\"",
        &["config.snapshot_interval", "pattern"],
    ),
    (
        "podMonitor.interval=\"30\"",
        &["podMonitor.interval", "pattern"],
    ),
    (
        "resources.limits.memory=\"256MiB\"",
        &["resources.limits.memory", "pattern"],
    ),
    (
        "resources.limits.memory=\"130Mi\"",
        &["resources.limits.memory", "config.memory_budget", "160Mi"],
    ),
    (
        "updateStrategy.rollingUpdate.maxUnavailable=\"a\"",
        &["maxUnavailable", "pattern"],
    ),
    // Patterns of names.
    (
        "config.kubernetes.labels=[\"a b\"]",
        &["config.kubernetes.labels.0", "pattern"],
    ),
    (
        "config.kubernetes.labels=[\"team\",\"\"]",
        &["config.kubernetes.labels.1", "pattern"],
    ),
    (
        "config.kubernetes.annotations=\"team\"",
        &["config.kubernetes.annotations", "array"],
    ),
    // Types and ranges.
    ("metrics.port=0", &["metrics.port", "1"]),
    ("metrics.port=\"9464\"", &["metrics.port", "integer"]),
    ("hostPID=\"true\"", &["hostPID", "boolean"]),
    ("resolver.tls.secret=\"a\"", &["resolver.tls", "secret"]),
    ("metrics.tls.secret=\"a\"", &["metrics.tls", "secret"]),
    // What goes together.
    (
        "metrics.tls.clientCaSecret.name=\"a\"",
        &["metrics.tls.clientCaSecret", "metrics.tls.secretName"],
    ),
    (
        "metrics={\"tls\":{\"secretName\":\"a\"}},podMonitor.enabled=true",
        &["metrics.tls.secretName", "podMonitor.tlsConfig"],
    ),
    ("resolver.replicas=0", &["resolver.replicas", "1"]),
    ("image.digest=\"sha256:1\"", &["image.digest", "pattern"]),
    ("otlp.endpoint=\"collector\"", &["otlp.endpoint", "pattern"]),
    (
        "config.pins.directory=\"/tmp\"",
        &["config.pins.directory", "pattern"],
    ),
];

/// Tries them all, and says how many.
pub(super) fn check(helm: &Helm, chart: &Path) -> Result<usize> {
    for (value, expected) in ROWS {
        let Some(refusal) = helm.refusal(chart, &["--set-json", value])? else {
            bail!("helm takes {value}");
        };
        // One line of it: the whole message has several keys in it where several are wrong.
        let is_clear = |line: &str| expected.iter().all(|word| line.contains(word));
        if !refusal.lines().any(is_clear) {
            bail!("helm refuses {value}, and says nothing of {expected:?}:\n{refusal}");
        }
    }
    Ok(ROWS.len())
}
