//! The OpenTelemetry environment variables that are honoured, below `WELLHEAD_*` and above the file.
//!
//! As the specification asks (`configuration/sdk-environment-variables.md`): an empty value counts as unset;
//! a number, boolean or enumeration that cannot be read is reported and ignored, as is
//! `OTEL_RESOURCE_ATTRIBUTES` as a whole when any of it cannot be decoded. Anything else that is wrong is an error.

use std::net::Ipv6Addr;

use super::{
    environment,
    error::{Origin, Problem},
    node::{Node, Path, Value},
};

/// How a variable's text becomes that of its key.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// A whole number of milliseconds.
    /// Not fewer than these.
    Milliseconds(u64),
    /// One of these, whatever its case.
    Choice(&'static [&'static str]),
    Boolean,
    /// `k=v,k=v`, percent-encoded as in W3C Baggage.
    Headers,
    /// The same; only what describes the whole cluster is taken.
    ResourceAttributes,
}

/// A variable and the key it sets.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) key: String,
    form: Form,
    pub(super) note: &'static str,
}

/// Suffixes of `OTEL_EXPORTER_OTLP_`, each of which exists for all signals and for each one.
const OTLP: [(&str, &str, Form, &str); 9] = [
    ("ENDPOINT", "endpoint", Form::Text, "URL"),
    (
        "PROTOCOL",
        "protocol",
        Form::Choice(&["grpc", "http/protobuf"]),
        "`grpc` or `http/protobuf`",
    ),
    (
        "HEADERS",
        "headers",
        Form::Headers,
        "`k=v,k=v`, percent-encoded",
    ),
    (
        "COMPRESSION",
        "compression",
        Form::Choice(&["none", "gzip", "zstd"]),
        "`none`, `gzip` or `zstd`",
    ),
    ("TIMEOUT", "timeout", Form::Milliseconds(1), "milliseconds"),
    ("INSECURE", "insecure", Form::Boolean, "`true` or `false`"),
    ("CERTIFICATE", "tls.ca_file", Form::Text, "PEM file"),
    (
        "CLIENT_CERTIFICATE",
        "tls.cert_file",
        Form::Text,
        "PEM file",
    ),
    ("CLIENT_KEY", "tls.key_file", Form::Text, "PEM file"),
];

/// The longest time that a variable may say: what a signed 32-bit number holds, as in other implementations.
const MOST_MILLISECONDS: u64 = i32::MAX as u64;

/// A variable of the specification that sets nothing here.
pub(super) struct NotHonoured {
    pub(super) name: &'static str,
    /// Values that say what is done anyway.
    done_anyway: &'static [&'static str],
    /// What there is instead.
    pub(super) instead: &'static str,
}

/// All of them that a user might expect to be honoured.
pub(super) const NOT_HONOURED: [NotHonoured; 15] = [
    not_honoured(
        "OTEL_SDK_DISABLED",
        &["false"],
        "do not run the agent, or set no endpoint",
    ),
    not_honoured("OTEL_LOG_LEVEL", &[], "`log.level`"),
    not_honoured(
        "OTEL_METRICS_EXPORTER",
        &["otlp", "prometheus", "otlp,prometheus", "prometheus,otlp"],
        "OTLP goes to `otlp.metrics.endpoint` if that or `otlp.endpoint` is set, and Prometheus is always served",
    ),
    not_honoured(
        "OTEL_TRACES_EXPORTER",
        &["otlp"],
        "`traces.process`, `traces.tcp`, `traces.agent`",
    ),
    not_honoured(
        "OTEL_LOGS_EXPORTER",
        &["otlp"],
        "`events.export`, `log.export`",
    ),
    not_honoured(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        &["trace_based"],
        "exemplars are those of spans that were exported",
    ),
    not_honoured(
        "OTEL_TRACES_SAMPLER",
        &["always_on", "parentbased_always_on"],
        "`traces.sampling` says which processes' spans are exported; those of connections all are",
    ),
    not_honoured(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        &[],
        "`otlp.metrics.timeout`, for one attempt",
    ),
    not_honoured(
        "OTEL_BSP_EXPORT_TIMEOUT",
        &[],
        "`otlp.traces.timeout`, for one attempt",
    ),
    not_honoured(
        "OTEL_BLRP_EXPORT_TIMEOUT",
        &[],
        "`otlp.logs.timeout`, for one attempt",
    ),
    not_honoured(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        &[],
        "`otlp.queue_size`, in bytes",
    ),
    not_honoured(
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        &[],
        "`otlp.queue_size`, in bytes",
    ),
    not_honoured(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        &[],
        "requests are cut at 4 MiB",
    ),
    not_honoured(
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        &[],
        "requests are cut at 4 MiB",
    ),
    not_honoured(
        "OTEL_SERVICE_NAME",
        &[],
        "that of a workload's own process is, and the agent is `wellhead`",
    ),
];

const fn not_honoured(
    name: &'static str,
    done_anyway: &'static [&'static str],
    instead: &'static str,
) -> NotHonoured {
    NotHonoured {
        name,
        done_anyway,
        instead,
    }
}

/// Resource attributes that hold for everything in a cluster; any other describes the agent's own process.
const CLUSTER_WIDE: [&str; 3] = ["k8s.cluster.", "deployment.", "cloud."];

pub(super) const PROMETHEUS_HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
pub(super) const PROMETHEUS_PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";

/// All variables that set one key.
pub(super) fn variables() -> Vec<Variable> {
    let signals = [
        ("", ""),
        ("METRICS_", "metrics."),
        ("TRACES_", "traces."),
        ("LOGS_", "logs."),
    ];
    let otlp = signals.into_iter().flat_map(|(infix, section)| {
        OTLP.map(|(suffix, key, form, note)| Variable {
            name: format!("OTEL_EXPORTER_OTLP_{infix}{suffix}"),
            key: format!("otlp.{section}{key}"),
            form,
            note,
        })
    });
    let others = [
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            "otlp.metrics.interval",
            Form::Milliseconds(100),
            "milliseconds",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "otlp.metrics.temporality",
            Form::Choice(&["cumulative", "delta", "lowmemory"]),
            "`cumulative`, `delta` or `lowmemory`",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "otlp.metrics.histogram_aggregation",
            Form::Choice(&[
                "explicit_bucket_histogram",
                "base2_exponential_bucket_histogram",
            ]),
            "`explicit_bucket_histogram` or `base2_exponential_bucket_histogram`",
        ),
        (
            "OTEL_BSP_SCHEDULE_DELAY",
            "otlp.traces.interval",
            Form::Milliseconds(100),
            "milliseconds",
        ),
        (
            "OTEL_BLRP_SCHEDULE_DELAY",
            "otlp.logs.interval",
            Form::Milliseconds(100),
            "milliseconds",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "resource_attributes",
            Form::ResourceAttributes,
            "`k=v,k=v`, percent-encoded; only `k8s.cluster.*`, `deployment.*` and `cloud.*`, as others describe the agent itself",
        ),
    ];
    let others = others.map(|(name, key, form, note)| Variable {
        name: name.to_owned(),
        key: key.to_owned(),
        form,
        note,
    });
    otlp.chain(others).collect()
}

/// The layer of the variables. `below` holds what the layers beneath set; `warnings` gets what is ignored.
pub(super) fn layer(
    environment: &[(String, String)],
    below: &Node,
    warnings: &mut Vec<Problem>,
    problems: &mut Vec<Problem>,
) -> Node {
    let get = |name: &str| {
        let found = environment
            .iter()
            .find(|(known, text)| known == name && !text.is_empty());
        found.map(|(_, text)| text.as_str())
    };
    let asked_in_vain = |variable: &NotHonoured| {
        let text = get(variable.name)?;
        variable.warning(text)
    };
    warnings.extend(NOT_HONOURED.iter().filter_map(asked_in_vain));
    let mut layer = Node::empty();
    for variable in variables() {
        let Some(text) = get(&variable.name) else {
            continue;
        };
        let origin = Origin::Variable(variable.name);
        match variable.form.node(text, &origin) {
            Ok(node) => layer.lay(Node::nested(variable.key.split('.'), node)),
            Err(message) => {
                let fatal = matches!(variable.form, Form::Headers);
                let problem = Problem {
                    origin,
                    key: variable.key,
                    message,
                };
                if fatal {
                    problems.push(problem);
                } else {
                    warnings.push(problem);
                }
            }
        }
    }
    if let Some(listen) = listen(get(PROMETHEUS_HOST), get(PROMETHEUS_PORT), below, warnings) {
        layer.lay(Node::nested(["prometheus", "listen"].into_iter(), listen));
    }
    layer
}

impl NotHonoured {
    /// What is said if it is set to this.
    fn warning(&self, text: &str) -> Option<Problem> {
        let mut values = self.done_anyway.iter();
        if values.any(|value| value.eq_ignore_ascii_case(text)) {
            return None;
        }
        Some(Problem {
            origin: Origin::Variable(self.name.to_owned()),
            key: String::new(),
            message: format!("is not honoured: {}", self.instead),
        })
    }
}

impl Form {
    fn node(self, text: &str, origin: &Origin) -> Result<Node, String> {
        let scalar = |text: String| Ok(Node::text(text, origin.clone()));
        match self {
            Self::Text => scalar(text.to_owned()),
            Self::Milliseconds(least) => match text.parse::<u64>() {
                Ok(number) if (least..=MOST_MILLISECONDS).contains(&number) => {
                    scalar(format!("{number}ms"))
                }
                Ok(_) => Err(format!(
                    "`{text}` is out of range; from {least} to {MOST_MILLISECONDS} milliseconds; ignored"
                )),
                Err(_) => Err(format!(
                    "`{text}` is no whole number of milliseconds; ignored"
                )),
            },
            Self::Choice(allowed) => {
                let mut choices = allowed.iter();
                match choices.find(|choice| choice.eq_ignore_ascii_case(text)) {
                    Some(choice) => scalar((*choice).to_owned()),
                    None => Err(format!(
                        "`{text}` is not supported; allowed are {}; ignored",
                        allowed.join(", ")
                    )),
                }
            }
            Self::Boolean if text.eq_ignore_ascii_case("true") => scalar("on".to_owned()),
            Self::Boolean if text.eq_ignore_ascii_case("false") => scalar("off".to_owned()),
            Self::Boolean => Err(format!("`{text}` is neither `true` nor `false`; ignored")),
            // Headers hold secrets: their text is not repeated.
            Self::Headers => environment::pairs(text, origin, percent_decoded),
            Self::ResourceAttributes => {
                let mut node = environment::pairs(text, origin, percent_decoded)
                    .map_err(|message| format!("{message}; the variable is ignored"))?;
                if let Value::Map(entries) = &mut node.value {
                    entries
                        .retain(|key, _| CLUSTER_WIDE.iter().any(|prefix| key.starts_with(prefix)));
                }
                Ok(node)
            }
        }
    }
}

/// The address to listen on when host, port or both are given; the other half is that of the layers below.
fn listen(
    host: Option<&str>,
    port: Option<&str>,
    below: &Node,
    warnings: &mut Vec<Problem>,
) -> Option<Node> {
    let port = port.filter(|port| {
        let valid = port.parse::<u16>().is_ok();
        if !valid {
            warnings.push(Problem {
                origin: Origin::Variable(PROMETHEUS_PORT.to_owned()),
                key: "prometheus.listen".to_owned(),
                message: format!("`{port}` is no port; ignored"),
            });
        }
        valid
    });
    let name = match (host, port) {
        (Some(_), _) => PROMETHEUS_HOST,
        (None, Some(_)) => PROMETHEUS_PORT,
        (None, None) => return None,
    };
    let below = match below
        .get(&Path::of("prometheus.listen"))
        .map(|node| &node.value)
    {
        Some(Value::Text(text)) => text.rsplit_once(':'),
        _ => None,
    };
    let (usual_host, usual_port) = below.unwrap_or(("127.0.0.1", "9464"));
    let host = match host {
        Some(v6) if v6.parse::<Ipv6Addr>().is_ok() => format!("[{v6}]"),
        other => other.unwrap_or(usual_host).to_owned(),
    };
    let address = format!("{host}:{}", port.unwrap_or(usual_port));
    Some(Node::text(address, Origin::Variable(name.to_owned())))
}

/// Decodes `%41` (RFC 3986 section 2.1).
fn percent_decoded(text: &str) -> Result<String, String> {
    let refuse = || "an entry is not percent-encoded UTF-8; write `%` as `%25`".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit().ok_or_else(refuse)?, digit().ok_or_else(refuse)?);
            bytes.extend(u8::try_from(high * 16 + low));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::catalogue;

    #[test]
    fn every_variable_sets_a_key() {
        for variable in variables() {
            assert!(
                catalogue::find(&variable.key).is_some(),
                "{}",
                variable.name
            );
        }
    }

    #[test]
    fn percent_encoding_is_undone() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(percent_decoded(text).ok().as_deref(), expected, "{text}");
        };
        check("Bearer%20a%3db", Some("Bearer a=b"));
        check("%C3%A9", Some("é"));
        check("é", Some("é"));
        check("%", None);
        check("%4", None);
        check("%zz", None);
        check("%C3", None);
        check("%+4", None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(text: String) {
            let encoded: String = text.bytes().flat_map(|byte| {
                let digit = |digit: u8| char::from_digit(u32::from(digit), 16).expect("below 16");
                ['%', digit(byte >> 4), digit(byte & 15)]
            }).collect();
            prop_assert_eq!(percent_decoded(&encoded), Ok(text));
        }
    }
}
