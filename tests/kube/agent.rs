//! The agent in the cluster, installed by its chart, and what it tells.

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use wellhead_tests::receiver::{Receiver, text};

use super::World;
use super::cluster::{Cluster, expect, is_ready, items, until};
use super::told::Told;
use super::truth::Truth;

pub(crate) const NAMESPACE: &str = "wellhead";
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/wellhead");

/// What asking connection tracking takes in another network namespace than the agent's.
const FOR_CONNTRACK: [&str; 3] = ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"];

/// An agent that runs, its receiver, and the API's own account of things.
pub(crate) struct Agent {
    pub(crate) node: Node,
    pub(crate) truth: Truth,
    told: Mutex<Told>,
    endpoint: String,
}

/// The zone that the node is said to be in.
pub(crate) const ZONE: &str = "zone-a";

/// What the API server says of the node and the cluster.
pub(crate) struct Node {
    pub(crate) uid: String,
    pub(crate) cluster: String,
}

impl Node {
    fn in_a_zone(cluster: &Cluster) -> Self {
        let zone = format!("topology.kubernetes.io/zone={ZONE}");
        cluster.run(&["label", "--overwrite", "node", "node-a", &zone]);
        let uid = |object: &[&str]| {
            let object = cluster.get("", object);
            object["metadata"]["uid"]
                .as_str()
                .expect("a UID")
                .to_owned()
        };
        Self {
            uid: uid(&["node", "node-a"]),
            cluster: uid(&["namespace", "kube-system"]),
        }
    }
}

/// What of a release differs from test to test.
pub(crate) struct Release<'a> {
    /// Of the agent, beside the chart's two.
    pub(crate) capabilities: &'a [&'a str],
    /// The agent's configuration.
    pub(crate) config: Value,
    /// `resolver.tls` of the chart.
    pub(crate) resolver_tls: Value,
}

impl Default for Release<'_> {
    fn default() -> Self {
        Self {
            capabilities: &FOR_CONNTRACK,
            config: json!({}),
            resolver_tls: json!({}),
        }
    }
}

impl World {
    /// Installed by the first test that asks.
    pub(crate) fn agent(&self) -> &Agent {
        self.agent.get_or_init(|| Agent::install(&self.cluster))
    }
}

impl Agent {
    fn install(cluster: &Cluster) -> Self {
        let node = Node::in_a_zone(cluster);
        let machine = env::var("WELLHEAD_TEST_KUBE_MACHINE").expect("the environment names it");
        let receiver = Receiver::start_on(&machine);
        let endpoint = receiver.endpoint("http/protobuf");
        let agent = Self {
            node,
            truth: Truth::watch(cluster),
            told: Mutex::new(Told::new(receiver)),
            endpoint,
        };
        agent.release(cluster, &Release::default());
        agent
    }

    /// Installs or upgrades the release, and waits until all of it is ready. There are no names of Services in the cluster, so
    /// the resolver's address has to be told, which is not known before there is one.
    pub(crate) fn release(&self, cluster: &Cluster, release: &Release<'_>) {
        let mut config = release.config.clone();
        let resolver = resolver_address(cluster);
        if let Some(address) = &resolver {
            let scheme = if release.resolver_tls["secretName"].is_null() {
                "http"
            } else {
                "https"
            };
            config["kubernetes"]["resolver"] = json!(format!("{scheme}://{address}:7443"));
        }
        config["kubernetes"]["labels"] = json!(["app"]);
        config["otlp"] = json!({ "interval": "2s" });
        config["snapshot_interval"] = json!("2s");
        config["cluster_name"] = json!("rig");
        let values = json!({
            "image": { "pullPolicy": "Never" },
            "otlp": { "endpoint": self.endpoint },
            "podMonitor": { "enabled": true },
            "resolver": { "enabled": true, "tls": release.resolver_tls },
            "extraCapabilities": release.capabilities,
            "config": config,
        });
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), values.to_string()).expect("written");
        let file = file.path().to_str().expect("UTF-8");
        let command = [
            "upgrade",
            "--install",
            "wellhead",
            CHART,
            "--namespace",
            NAMESPACE,
        ];
        let how = [
            "--create-namespace",
            "--values",
            file,
            "--wait",
            "--timeout=4m",
        ];
        cluster.helm(&[&command[..], &how].concat());
        until_agent_is_ready(cluster);
        if resolver.is_none() {
            self.release(cluster, release);
        }
    }

    /// What came since of one kind (`records`, `spans`) and namespace.
    pub(crate) fn new_items(&self, place: &mut u64, kind: &str, namespace: &str) -> Vec<Value> {
        let requests = self.told().receiver.requests_after(place);
        let all = requests
            .iter()
            .flat_map(|request| request[kind].as_array().into_iter().flatten());
        let ours = all.filter(|item| text(&item["resource"], "k8s.namespace.name") == namespace);
        ours.cloned().collect()
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of the resolvers' Service. `None` before the first release.
pub(crate) fn resolver_address(cluster: &Cluster) -> Option<String> {
    let service = cluster.try_get(NAMESPACE, &["service", "wellhead-resolver"]);
    Some(service.ok()?["spec"]["clusterIP"].as_str()?.to_owned())
}

/// Waits for the one pod of the DaemonSet to be ready, and any other to be gone.
pub(crate) fn until_agent_is_ready(cluster: &Cluster) {
    until("the agent's pod", || {
        let selector = "--selector=app.kubernetes.io/component=agent";
        let pods = cluster.get(NAMESPACE, &["pods", selector]);
        let is_alone = items(&pods).len() == 1;
        expect(
            is_alone && items(&pods).iter().all(is_ready),
            &pods["items"],
        )
    });
}
