//! Configuration files of a rig. Nearly all of these programs read YAML, of which JSON is a part.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::image::PAUSE;
use super::programs::Node;
use super::rig::{API_PORT, Extent, NODE_ADDRESS, PODS, Rig};

/// How somebody reaches the API server, by the certificate of that name.
pub(super) fn kubeconfig(rig: &Rig, extent: Extent, identity: &str, file: &str) -> Result<()> {
    let server = format!("https://{}:{API_PORT}", extent.api_address());
    let authority = rig.text("pki/ca.crt");
    let user = json!({
        "client-certificate": rig.text(&format!("pki/{identity}.crt")),
        "client-key": rig.text(&format!("pki/{identity}.key")),
    });
    write(
        rig,
        file,
        &json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "rig",
                "cluster": { "server": server, "certificate-authority": authority },
            }],
            "users": [{ "name": identity, "user": user }],
            "contexts": [{ "name": "rig", "context": { "cluster": "rig", "user": identity } }],
            "current-context": "rig",
        }),
    )
}

/// Who asked for what, without contents: enough to tell which permissions somebody uses.
pub(super) fn audit_policy(rig: &Rig) -> Result<()> {
    write(
        rig,
        "audit-policy.yaml",
        &json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            // A watch is told of when it begins, everything else when it is answered.
            "omitStages": ["RequestReceived"],
            "rules": [{ "level": "Metadata" }],
        }),
    )
}

/// Everything that only a node reads.
pub(super) fn node(rig: &Rig, programs: &Node) -> Result<()> {
    write(rig, "kubelet.yaml", &kubelet(rig))?;
    write(rig, "proxy.yaml", &proxy(rig))?;
    fs::create_dir_all(rig.path("manifests"))?;
    fs::create_dir_all(rig.path("cni"))?;
    write(rig, "cni/10-bridge.conflist", &network())?;
    // Pods ask no name server of this machine's.
    write_text(rig, "resolv.conf", "nameserver 127.0.0.1\n")?;
    write_text(rig, "containerd.toml", &containerd(rig, programs))
}

fn kubelet(rig: &Rig) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "readOnlyPort": 0,
        "authentication": {
            "x509": { "clientCAFile": rig.text("pki/ca.crt") },
            "webhook": { "enabled": true },
            "anonymous": { "enabled": false },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": rig.text("pki/kubelet.crt"),
        "tlsPrivateKeyFile": rig.text("pki/kubelet.key"),
        "staticPodPath": rig.text("manifests"),
        "resolvConf": rig.text("resolv.conf"),
        "clusterDNS": [],
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // Lowering the score needs CAP_SYS_RESOURCE, which this may run without.
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
        // The machine is not the rig's: however full it is, no pod has to go.
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "1s",
        // Tests make hundreds of short pods at once.
        "maxPods": 500,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "eventRecordQPS": 0,
    })
}

fn proxy(rig: &Rig) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": NODE_ADDRESS,
        "clusterCIDR": PODS,
        "clientConnection": { "kubeconfig": rig.text("proxy.kubeconfig") },
        "oomScoreAdj": 0,
        // These limits are the whole machine's: they stay as they are.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    })
}

/// Without masquerading: nothing leaves the machine, and tests see addresses as they are.
fn network() -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "rig",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": false,
                // A pod may reach itself through its service.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": PODS }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

/// Without anything that needs CAP_SYS_RESOURCE or systemd.
fn containerd(rig: &Rig, programs: &Node) -> String {
    let cni = programs.cni().display().to_string();
    let runc = programs.runc().display().to_string();
    let network = rig.text("cni");
    format!(
        r#"version = 2
oom_score = 0

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
disable_tcp_service = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "{runc}"
"#
    )
}

fn write(rig: &Rig, name: &str, value: &Value) -> Result<()> {
    write_text(rig, name, &format!("{value:#}\n"))
}

pub(super) fn write_text(rig: &Rig, name: &str, text: &str) -> Result<()> {
    let file = rig.path(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
