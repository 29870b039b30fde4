//! A pod that does the same over and over, as often as it is told to.

use serde_json::json;

use super::cluster::Cluster;
use super::told::Series;

/// A script that makes so many requests of its own container's, each a program and a connection, with a pause (microseconds)
/// after each; then it sleeps.
pub(crate) fn requests(number: u64, pause: u64) -> String {
    format!(
        "touch /tmp/index.html; httpd -p 8080 -h /tmp; i=0; \
         while [ $i -lt {number} ]; do /bin/wget -q -O /dev/null http://127.0.0.1:8080/; i=$((i+1)); usleep {pause}; done; exec sleep 86400"
    )
}

/// A pod with one container of the same name.
pub(crate) fn start(cluster: &Cluster, namespace: &str, name: &str, script: &str) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": name,
                "image": "localhost/busybox:rig",
                "command": ["sh", "-c", script],
            }],
        },
    });
    cluster.apply_text(&pod.to_string());
}

/// What is told of its requests under its whole name: programs, their ends, and connections at either end.
pub(crate) fn counted(series: &[Series], namespace: &str, name: &str) -> [u64; 4] {
    let sum = |metric: &str, having: (&str, &str)| -> u64 {
        let ours = series.iter().filter(|one| {
            one.metric == metric
                && one.of("k8s.namespace.name") == namespace
                && one.of("k8s.pod.name") == name
                && one.of("k8s.container.name") == name
                && one.has(&[having])
        });
        ours.map(|one| one.total).sum()
    };
    let wget = ("process.executable.name", "wget");
    let opened = "wellhead.tcp.connections.opened";
    [
        sum("wellhead.process.execs", wget),
        sum("wellhead.process.exits", wget),
        sum(opened, ("wellhead.reporter", "source")),
        sum(opened, ("wellhead.reporter", "destination")),
    ]
}
