//! The keys of Kubernetes and of the resolver, the agent's side and its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::{ClientTls, ServerTls};
use super::value::{ListenAddress, NamePattern, NamespacePattern, Toggle};

/// Where the identity of pods comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Whether to ask the Kubernetes API for this node's pods.
    pub mode: KubernetesMode,
    /// The namespaces whose pods are captured. Pods of others have no metrics, events and spans of their own, but stay the far ends of others' connections.
    pub namespaces: Namespaces,
    /// Labels of pods that are put on the Resources of their containers, as `k8s.pod.label.<key>`: a list of keys, or of patterns in which `*` stands for any run of characters, `/` included. Not on `/metrics`. At most 4 KiB of labels and annotations together, names of attributes included, are kept of a pod.
    pub labels: Vec<NamePattern>,
    /// Annotations likewise, as `k8s.pod.annotation.<key>`. Values beyond 1 KiB are cut.
    pub annotations: Vec<NamePattern>,
    /// Name services by the labels `app.kubernetes.io/instance`, `name`, `part-of` and `version` of their pods, where neither the environment of the container nor an annotation names them.
    pub well_known_labels: Toggle,
    /// URL of `wellhead resolver`, such as `http://wellhead-resolver:7443`, or with `https`. It tells the agent what has which address in the whole cluster, so that far ends get names; the agent goes on with what it knows while no resolver answers.
    #[schemars(extend("x-default" = "none: far ends get no names of Kubernetes objects, unless `peers.kubernetes` is `on`"))]
    pub resolver: Option<String>,
    /// How agent and resolver trust each other, with an `https` URL. Files are read for every connection, so they can be renewed.
    pub resolver_tls: ClientTls,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            mode: KubernetesMode::default(),
            namespaces: Namespaces::default(),
            labels: Vec::new(),
            annotations: Vec::new(),
            well_known_labels: Toggle::On,
            resolver: None,
            resolver_tls: ClientTls::default(),
        }
    }
}

/// The namespaces whose pods are captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Namespaces {
    /// Names of namespaces, or patterns in which `*` stands for any run of characters. An empty list: all. Processes of the host are in no namespace and always captured. Taken up while the agent runs.
    pub include: Vec<NamespacePattern>,
    /// Those of them that are left out. Taken up while the agent runs.
    pub exclude: Vec<NamespacePattern>,
}

/// What `wellhead resolver` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resolver {
    /// IP address and port agents connect to (gRPC).
    pub listen: ListenAddress,
    /// IP address and port of `/metrics`, `/healthz` and `/readyz`.
    pub http_listen: ListenAddress,
    /// TLS for `resolver.listen`. Without a certificate there is none, which is for networks that can be trusted. Files are read at start.
    pub tls: ServerTls,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            listen: ListenAddress::everywhere(7443),
            http_listen: ListenAddress::everywhere(9465),
            tls: ServerTls::default(),
        }
    }
}

/// Whether to ask the Kubernetes API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesMode {
    /// with in-cluster credentials or a kubeconfig, where there are any
    #[default]
    Auto,
    /// never
    #[serde(alias = "false")]
    Off,
    /// always; without credentials the agent does not start
    Required,
}
