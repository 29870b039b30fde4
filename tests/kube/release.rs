//! The chart's objects before and after the agent.

use std::fs;
use std::path::Path;

use super::World;
use super::agent::{CHART, NAMESPACE, until_agent_is_ready};

/// Where agents pin, on their node.
const PINS: &str = "sys/fs/bpf/wellhead";

/// A real API server takes what the chart makes of its defaults and of each example.
pub(crate) fn objects_are_accepted(world: &World) {
    let cluster = &world.cluster;
    for namespace in [NAMESPACE, "mdai"] {
        cluster.apply_text(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n"
        ));
    }
    let deploy = Path::new(CHART).join("../..");
    let mut examples: Vec<String> = fs::read_dir(deploy.join("examples"))
        .expect("examples")
        .map(|entry| {
            entry
                .expect("an example")
                .path()
                .to_str()
                .expect("UTF-8")
                .to_owned()
        })
        .collect();
    examples.sort();
    let all = examples.iter().map(|file| vec!["--values", file.as_str()]);
    for values in std::iter::once(vec![]).chain(all) {
        let template = [
            "template",
            "wellhead",
            CHART,
            "--namespace",
            NAMESPACE,
            "--kube-version",
            "1.20.2",
        ];
        let objects = cluster.helm(&[&template[..], &values].concat());
        let accepted = cluster
            .try_out(&objects)
            .unwrap_or_else(|error| panic!("{values:?}: {error}"));
        assert!(
            accepted.contains("daemonset.apps/wellhead created (server dry run)"),
            "{accepted}"
        );
    }
}

/// As the documentation tells to.
pub(crate) fn uninstalled_leaves_nothing(world: &World) {
    let cluster = &world.cluster;
    let _installed = world.agent();
    let pins = cluster.node_root().join(PINS);
    assert!(pins.join("v1").is_dir(), "nothing was pinned");
    let upgrade = [
        "upgrade",
        "wellhead",
        CHART,
        "--namespace",
        NAMESPACE,
        "--reuse-values",
    ];
    let how = ["--set", "config.pins.keep=off", "--wait", "--timeout", "4m"];
    cluster.helm(&[&upgrade[..], &how].concat());
    until_agent_is_ready(cluster);
    cluster.helm(&["uninstall", "wellhead", "--namespace", NAMESPACE, "--wait"]);
    let left = fs::read_dir(pins).map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    });
    assert!(
        left.as_ref().is_ok_and(Vec::is_empty) || left.is_err(),
        "{left:?}"
    );
}
