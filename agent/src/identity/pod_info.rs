//! What is kept of a pod.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::cluster::{Address, ClusterObject, ClusterUpdate, ObjectKind};
use super::container_status::ContainerStatus;
use super::free_attributes::{MOST, ROOM, beginning, is_free};
use super::image::ImageRef;
use super::pods::PodUpdate;
use super::workload::{ObjectName, Workload};

/// A pod, reduced to what identity needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodInfo {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// What the cgroups of a static pod have for a UID: `kubernetes.io/config.mirror` of its mirror.
    pub config_hash: Option<Arc<str>>,
    /// `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// Whether those addresses are the node's.
    pub host_network: bool,
    /// Whether it has succeeded or failed for good; its addresses may be another pod's by now.
    pub finished: bool,
    /// `spec.nodeName`.
    pub node_name: Option<Arc<str>>,
    /// `status.startTime`.
    pub start_time: Option<Timestamp>,
    /// `lastTransitionTime` of its condition `Ready`, while that is true.
    #[serde(default)]
    pub ready_since: Option<Timestamp>,
    /// Its owners, nearest first; empty for a pod of its own.
    pub owners: Vec<ObjectName>,
    /// The farthest owner, or the pod itself.
    pub workload: Arc<Workload>,
    /// Containers of every kind: init, main, ephemeral.
    pub containers: Vec<ContainerInfo>,
    /// The labels that may say what the service is called.
    pub labels: ServiceLabels,
    /// Annotations `resource.opentelemetry.io/<key>`, by key.
    pub resource_annotations: Vec<(Arc<str>, Arc<str>)>,
    /// The labels and annotations that were asked for, as attributes: `k8s.pod.label.<key>`, `k8s.pod.annotation.<key>`.
    pub metadata_attributes: Vec<(Arc<str>, Arc<str>)>,
}

/// The same news, reduced to who has which address.
pub(super) fn addresses(update: &PodUpdate) -> ClusterUpdate {
    let kind = ObjectKind::Pod;
    match update {
        PodUpdate::Applied(pod) => ClusterUpdate::Applied(Box::new(pod.with_addresses())),
        PodUpdate::Deleted { uid } => ClusterUpdate::Deleted {
            kind,
            uid: Arc::clone(uid),
        },
        PodUpdate::Restarted(pods) => ClusterUpdate::Restarted {
            kind,
            objects: pods.iter().map(PodInfo::with_addresses).collect(),
        },
    }
}

impl PodInfo {
    /// The node's addresses are not the pod's.
    fn with_addresses(&self) -> ClusterObject {
        let own = self.ips.iter().filter(|_| !self.host_network);
        ClusterObject {
            kind: ObjectKind::Pod,
            uid: Arc::clone(&self.uid),
            name: Arc::clone(&self.workload),
            addresses: own.map(|ip| Address::any_port(*ip)).collect(),
            since: self.start_time,
            finished: self.finished,
        }
    }
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// Ids without their scheme: of its present run and of the one before, as far as reported.
    pub ids: Vec<Arc<str>>,
    /// Its image as specified.
    pub image: ImageRef,
    /// What its environment tells its own OpenTelemetry SDK.
    pub env: ServiceEnv,
    /// `<image>@<algorithm>:<digest>` of what its present run was started from, where the runtime has it from a registry.
    #[serde(default)]
    pub image_digest: Option<Arc<str>>,
    /// How its runs go.
    #[serde(default)]
    pub status: ContainerStatus,
}

/// `OTEL_SERVICE_NAME`, and what `OTEL_RESOURCE_ATTRIBUTES` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEnv {
    /// `service.name`.
    pub name: Option<Arc<str>>,
    /// `service.namespace`.
    pub namespace: Option<Arc<str>>,
    /// `service.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// `service.version`.
    pub version: Option<Arc<str>>,
    /// Other keys, each once; as free as those of annotations.
    pub others: Vec<(Arc<str>, Arc<str>)>,
}

/// Kubernetes' recommended labels, `app.kubernetes.io/…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLabels {
    /// `instance`.
    pub instance: Option<Arc<str>>,
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `part-of`.
    pub part_of: Option<Arc<str>>,
    /// `version`.
    pub version: Option<Arc<str>>,
}

impl ServiceEnv {
    /// Reads a container's environment as specified. Values that refer to other variables (`$(…)`) are not known here
    /// and ignored.
    pub fn from_env<'a>(env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        let mut name = None;
        for (key, value) in env {
            match key {
                "OTEL_SERVICE_NAME" => name = literal(value.trim()),
                "OTEL_RESOURCE_ATTRIBUTES" => found = Self::from_attributes(value),
                _ => {}
            }
        }
        Self {
            name: name.or(found.name),
            ..found
        }
    }

    /// `key=value` pairs joined by commas, values percent-encoded (OpenTelemetry specification, Resource SDK).
    fn from_attributes(text: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
            let slot = match key.trim() {
                "service.name" => &mut found.name,
                "service.namespace" => &mut found.namespace,
                "service.instance.id" => &mut found.instance_id,
                "service.version" => &mut found.version,
                key => {
                    found.add_other(key, &percent_decoded(value.trim()));
                    continue;
                }
            };
            *slot = literal(&percent_decoded(value.trim()));
        }
        found
    }
}

impl ServiceEnv {
    /// Of a key that is said again, what was said last.
    fn add_other(&mut self, key: &str, value: &str) {
        let Some(value) = literal(beginning(value)).filter(|_| is_free(key)) else {
            return;
        };
        let taken: usize = self
            .others
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let has_room = self.others.len() < MOST && taken + key.len() + value.len() <= ROOM;
        match self.others.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, known)) => *known = value,
            None if has_room => self.others.push((key.into(), value)),
            None => {}
        }
    }
}

fn literal(value: &str) -> Option<Arc<str>> {
    (!value.is_empty() && !value.contains("$(")).then(|| value.into())
}

/// Leaves what is not a valid escape as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex_digit(*high) * 16 + hex_digit(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{ServiceEnv, percent_decoded};

    fn check(env: &[(&str, &str)], expected: [Option<&str>; 4]) {
        let found = ServiceEnv::from_env(env.iter().copied());
        let values = [
            &found.name,
            &found.namespace,
            &found.version,
            &found.instance_id,
        ];
        assert_eq!(values.map(Option::as_deref), expected, "{env:?}");
    }

    #[test]
    fn environments() {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        const NAME: &str = "OTEL_SERVICE_NAME";
        check(&[], [None; 4]);
        check(
            &[(NAME, "cart"), ("PASSWORD", "x")],
            [Some("cart"), None, None, None],
        );
        check(
            &[(
                ATTRIBUTES,
                "service.name=a, service.namespace = shop ,team=x,service.version=1%2E2,service.instance.id=i",
            )],
            [Some("a"), Some("shop"), Some("1.2"), Some("i")],
        );
        check(
            &[(ATTRIBUTES, "service.name=a"), (NAME, "b")],
            [Some("b"), None, None, None],
        );
        check(
            &[(NAME, "b"), (ATTRIBUTES, "service.name=a")],
            [Some("b"), None, None, None],
        );
        check(
            &[(NAME, "$(POD_NAME)"), (ATTRIBUTES, "service.name=a")],
            [Some("a"), None, None, None],
        );
        check(
            &[(ATTRIBUTES, "service.name=$(X),service.version=2")],
            [None, None, Some("2"), None],
        );
        check(&[(ATTRIBUTES, "$(ALL)")], [None; 4]);
        check(
            &[(NAME, ""), (ATTRIBUTES, "service.name=,=,,service.version")],
            [None; 4],
        );
    }

    #[test]
    fn other_keys_are_kept_where_anybody_may_say_them() {
        let check = |attributes: &str, expected: &[(&str, &str)]| {
            let found = ServiceEnv::from_env([("OTEL_RESOURCE_ATTRIBUTES", attributes)]);
            let found: Vec<_> = found.others.iter().map(|(k, v)| (&**k, &**v)).collect();
            assert_eq!(found, expected, "{attributes}");
        };
        check(
            "team=a%20b,deployment.environment.name=prod,service.name=x,team=c",
            &[("team", "c"), ("deployment.environment.name", "prod")],
        );
        check(
            "k8s.pod.name=me,container.id=1,host.name=h,a=,=b,c=$(D),x=$(Y)z",
            &[],
        );
        let many: Vec<String> = (0..100).map(|number| format!("key{number}=v")).collect();
        let found = ServiceEnv::from_attributes(&many.join(","));
        assert_eq!(found.others.len(), super::MOST);
    }

    #[test]
    fn escapes() {
        for (text, expected) in [
            ("a%20b", "a b"),
            ("%C3%A9", "é"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%41", "A"),
        ] {
            assert_eq!(percent_decoded(text), expected);
        }
    }

    proptest! {
        #[test]
        fn text_without_escapes_stays(text in "[^%]*") {
            prop_assert_eq!(percent_decoded(&text), text);
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let found = ServiceEnv::from_env([("OTEL_RESOURCE_ATTRIBUTES", text.as_str())]);
            prop_assert_eq!(found, ServiceEnv::from_attributes(&text));
        }
    }
}
