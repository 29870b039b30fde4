//! What agents and resolvers ask of the API server, by its own account.

use std::collections::BTreeSet;

use serde_json::Value;

use wellhead_tests::require::say;

use super::World;
use super::agent::{Agent, NAMESPACE};

/// Each asks for all that its role allows, and for nothing else. Says how much that is, by the server's account and by the agents' own.
pub(crate) fn are_those_used(world: &World) {
    let agent = world.agent();
    let events = world.cluster.audit();
    for account in ["wellhead", "wellhead-resolver"] {
        let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
        let of_account = || {
            events
                .iter()
                .filter(|event| event["user"]["username"] == user.as_str())
        };
        let what = |event: &Value| {
            let object = &event["objectRef"];
            shown(&event["verb"], &object["apiGroup"], &object["resource"])
        };
        let is_refused = |event: &Value| event["responseStatus"]["code"] == 403;
        let asked: BTreeSet<String> = of_account()
            .filter(|event| event["objectRef"].is_object() && !is_refused(event))
            .map(what)
            .collect();
        let role = world.cluster.get("", &["clusterrole", account]);
        let allowed: BTreeSet<String> = list(&role["rules"]).flat_map(allowed_by).collect();
        assert_eq!(asked, allowed, "{account}");
        // For a moment after its start the server has not read its roles and refuses everybody.
        let refused: Vec<&Value> = of_account()
            .filter(|event| is_refused(event) && !asked.contains(&what(event)))
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
        let requests: BTreeSet<&str> = of_account()
            .filter_map(|event| event["auditID"].as_str())
            .collect();
        say(format_args!(
            "  {account}: {} requests, {asked:?}",
            requests.len()
        ));
    }
    say_bytes(agent);
}

/// Agents count their own connections like any other's.
fn say_bytes(agent: &Agent) {
    let series = agent.told().series();
    let to_server = |direction: &str| -> u64 {
        let having = [
            ("destination.k8s.service.name", "kubernetes"),
            ("network.io.direction", direction),
        ];
        let of_agents = series.iter().filter(|one| {
            one.metric == "wellhead.tcp.io"
                && one.of("k8s.namespace.name") == NAMESPACE
                && one.of("k8s.daemonset.name") == "wellhead"
                && one.has(&having)
        });
        of_agents.map(|one| one.total).sum()
    };
    let agents: BTreeSet<&str> = series
        .iter()
        .filter(|one| one.of("k8s.daemonset.name") == "wellhead")
        .map(|one| one.of("k8s.pod.uid"))
        .collect();
    say(format_args!(
        "  {} agents one after the other: {} bytes to the API server, {} bytes from it",
        agents.len(),
        to_server("transmit"),
        to_server("receive")
    ));
}

fn allowed_by(rule: &Value) -> Vec<String> {
    let mut allowed = Vec::new();
    for group in list(&rule["apiGroups"]) {
        for resource in list(&rule["resources"]) {
            allowed.extend(list(&rule["verbs"]).map(|verb| shown(verb, group, resource)));
        }
    }
    allowed
}

fn shown(verb: &Value, group: &Value, resource: &Value) -> String {
    let [verb, group, resource] =
        [verb, group, resource].map(|value| value.as_str().unwrap_or_default());
    format!("{verb} {group}/{resource}")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
