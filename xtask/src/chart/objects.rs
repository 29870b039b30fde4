//! What the chart makes, looked at as an administrator would: who may do what, and what a container gets of the host.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::NEWEST;
use super::helm::Helm;

/// What of the host an agent may see, and whether it may write there.
const HOST: [(&str, bool); 3] = [
    ("/sys/fs/bpf", true),
    ("/sys/fs/cgroup", false),
    ("/sys/kernel/tracing", false),
];

/// Holds for every set of values but `privileged`.
pub(super) fn check(objects: &[Value]) -> Result<()> {
    ensure!(
        !of_kind(objects, "DaemonSet").is_empty(),
        "there is no DaemonSet"
    );
    for object in objects {
        let name = format!(
            "{} {}",
            text(object, "/kind"),
            text(object, "/metadata/name")
        );
        check_object(object).context(name)?;
    }
    Ok(())
}

fn check_object(object: &Value) -> Result<()> {
    match text(object, "/kind").as_str() {
        "ClusterRole" => check_role(object),
        "DaemonSet" | "Deployment" => check_pod(&object["spec"]["template"]["spec"]),
        _ => Ok(()),
    }
}

/// Nothing but reading, and nothing that holds secrets; of namespaces, one alone.
fn check_role(role: &Value) -> Result<()> {
    for rule in list(&role["rules"]) {
        let allowed: &[&str] = match words(&rule["verbs"])[..] {
            ["list", "watch"] => &["endpointslices", "nodes", "pods", "services"],
            ["get"] if words(&rule["resourceNames"]) == ["kube-system"] => &["namespaces"],
            ["get"] => &["nodes"],
            _ => bail!("verbs: {rule}"),
        };
        for resource in words(&rule["resources"]) {
            ensure!(allowed.contains(&resource), "resources: {rule}");
        }
    }
    Ok(())
}

fn check_pod(pod: &Value) -> Result<()> {
    let volumes: Vec<&Value> = list(&pod["volumes"]).collect();
    for container in list(&pod["containers"]) {
        check_container(container, &volumes).context(text(container, "/name"))?;
    }
    ensure!(
        pod["enableServiceLinks"] == false,
        "enableServiceLinks is on"
    );
    Ok(())
}

fn check_container(container: &Value, volumes: &[&Value]) -> Result<()> {
    let security = &container["securityContext"];
    ensure!(
        security["readOnlyRootFilesystem"] == true,
        "it may write to its image"
    );
    ensure!(security["privileged"] != true, "it is privileged");
    ensure!(
        security["allowPrivilegeEscalation"] == false,
        "it may gain privileges"
    );
    ensure!(
        words(&security["capabilities"]["drop"]) == ["ALL"],
        "it keeps capabilities"
    );
    let memory = &container["resources"]["limits"]["memory"];
    ensure!(memory.is_string(), "its memory has no limit");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ensure!(container[probe].is_object(), "{probe} is missing");
    }
    let names: Vec<String> = list(&container["env"])
        .map(|env| text(env, "/name"))
        .collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    ensure!(
        distinct.len() == names.len(),
        "a variable is set twice: {names:?}"
    );
    for mount in list(&container["volumeMounts"]) {
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"]);
        let volume = volume.with_context(|| format!("no volume for {mount}"))?;
        let path = &volume["hostPath"]["path"];
        if path.is_null() {
            continue;
        }
        let writable = mount["readOnly"] != true;
        let known = HOST.iter().find(|(known, _)| path == known);
        let (_, may_write) = known.with_context(|| format!("it sees {path} of the host"))?;
        ensure!(
            !writable || *may_write,
            "it may write to {path} of the host"
        );
        ensure!(
            mount["mountPropagation"].is_null(),
            "{path} propagates mounts"
        );
    }
    Ok(())
}

/// The table of capabilities in the documentation: those marked as default are what an agent gets, no more and no less.
pub(super) fn check_capabilities(objects: &[Value], documented: &str) -> Result<()> {
    let expected = default_capabilities(documented);
    let agent = agent(objects)?;
    let added = words(&agent["securityContext"]["capabilities"]["add"]);
    ensure!(
        added == expected.iter().collect::<Vec<_>>(),
        "the agent gets {added:?}, and documented as default are {expected:?}"
    );
    Ok(())
}

/// Rows such as ``| `BPF` | default | … |``.
fn default_capabilities(documented: &str) -> BTreeSet<String> {
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let is_default = rest.starts_with("default |");
        is_default.then(|| name.to_owned())
    };
    documented.lines().filter_map(row).collect()
}

/// What follows from a value elsewhere in the objects: the value, where to look, and what is there.
const SWITCHES: [(&[&str], &str, &str); 23] = [
    (
        &[],
        "/spec/template/spec/terminationGracePeriodSeconds",
        "15",
    ),
    (
        &["config.shutdown_grace=\"1m500ms\""],
        "/spec/template/spec/terminationGracePeriodSeconds",
        "71",
    ),
    (
        &["terminationGracePeriodSeconds=7"],
        "/spec/template/spec/terminationGracePeriodSeconds",
        "7",
    ),
    (
        &[],
        "/spec/template/spec/containers/0/resources/limits/memory",
        "\"256Mi\"",
    ),
    (
        &[],
        "/spec/template/spec/containers/0/resources/requests/memory",
        "\"128Mi\"",
    ),
    (
        &["config.memory_budget=\"1GiB\""],
        "/spec/template/spec/containers/0/resources/limits/memory",
        "\"1600Mi\"",
    ),
    (
        &["config.memory_budget=67108864"],
        "/spec/template/spec/containers/0/resources/limits/memory",
        "\"160Mi\"",
    ),
    (
        &["config.memory_budget=\"100MB\""],
        "/spec/template/spec/containers/0/resources/requests/memory",
        "\"96Mi\"",
    ),
    (
        &["resources.limits.memory=\"1Gi\""],
        "/spec/template/spec/containers/0/resources/limits/memory",
        "\"1Gi\"",
    ),
    (
        &[],
        "/spec/template/spec/containers/0/securityContext/capabilities/add",
        "[\"BPF\",\"NET_ADMIN\",\"PERFMON\"]",
    ),
    (
        &["config.features.udp=false", "config.features.dns=\"off\""],
        "/spec/template/spec/containers/0/securityContext/capabilities/add",
        "[\"BPF\",\"PERFMON\"]",
    ),
    (
        &["config.program_stats=true"],
        "/spec/template/spec/containers/0/securityContext/capabilities/add",
        "[\"BPF\",\"NET_ADMIN\",\"PERFMON\",\"SYS_ADMIN\"]",
    ),
    (
        &["extraCapabilities=[\"SYS_PTRACE\",\"BPF\"]"],
        "/spec/template/spec/containers/0/securityContext/capabilities/add",
        "[\"BPF\",\"NET_ADMIN\",\"PERFMON\",\"SYS_PTRACE\"]",
    ),
    (
        &["privileged=true"],
        "/spec/template/spec/containers/0/securityContext",
        "{\"runAsUser\":0,\"runAsGroup\":0,\"readOnlyRootFilesystem\":true,\"privileged\":true}",
    ),
    (
        &["seLinuxOptions={\"type\":\"spc_t\"}"],
        "/spec/template/spec/containers/0/securityContext/seLinuxOptions/type",
        "\"spc_t\"",
    ),
    (
        &[],
        "/spec/template/spec/containers/0/securityContext/appArmorProfile/type",
        "\"Unconfined\"",
    ),
    (
        &["hostNetwork=true"],
        "/spec/template/spec/dnsPolicy",
        "\"ClusterFirstWithHostNet\"",
    ),
    (
        &[],
        "/spec/template/spec/containers/0/env/3/value",
        "\"$(POD_IP):9464\"",
    ),
    (
        &["metrics.ipv6=true", "metrics.port=9999"],
        "/spec/template/spec/containers/0/env/3/value",
        "\"[$(POD_IP)]:9999\"",
    ),
    (
        &["mounts.bpffs=false"],
        "/spec/template/spec/containers/0/env/6/value",
        "\"off\"",
    ),
    (
        &["config.kubernetes.mode=\"off\""],
        "/spec/template/spec/automountServiceAccountToken",
        "false",
    ),
    (
        &["image.tag=\"1\""],
        "/spec/template/spec/containers/0/image",
        "\"ghcr.io/wellhead/wellhead:1\"",
    ),
    (
        &["priorityClassName=\"\""],
        "/spec/template/spec/priorityClassName",
        "null",
    ),
];

/// Values, and whether agents may watch the whole cluster with them.
const WATCHES: [(&str, bool); 5] = [
    ("config.peers.kubernetes=\"on\"", true),
    // What YAML makes of an unquoted `on`.
    ("config.peers.kubernetes=true", true),
    ("config.peers.kubernetes=\"off\"", false),
    ("config.peers.kubernetes=false", false),
    ("rbac.peers=true", true),
];

fn check_watches(helm: &Helm, chart: &Path) -> Result<()> {
    for (values, expected) in WATCHES {
        let objects = helm.template(chart, NEWEST, &["--set-json", values])?;
        let rules = of_kind(&objects, "ClusterRole")
            .into_iter()
            .flat_map(|role| list(&role["rules"]));
        let mut resources = rules.flat_map(|rule| words(&rule["resources"]));
        let found = resources.any(|resource| resource == "services");
        ensure!(
            found == expected,
            "with {values}, agents may watch services: {found}"
        );
    }
    Ok(())
}

/// Checks them all.
pub(super) fn check_switches(helm: &Helm, chart: &Path) -> Result<()> {
    for (values, pointer, expected) in SWITCHES {
        let args: Vec<&str> = values
            .iter()
            .flat_map(|value| ["--set-json", value])
            .collect();
        let objects = helm.template(chart, NEWEST, &args)?;
        let set = of_kind(&objects, "DaemonSet");
        let found = set
            .first()
            .and_then(|set| set.pointer(pointer))
            .unwrap_or(&Value::Null);
        let found = serde_json::to_string(found)?;
        ensure!(
            found == expected,
            "with {values:?}, {pointer} is {found} and not {expected}"
        );
    }
    check_watches(helm, chart)
}

fn agent(objects: &[Value]) -> Result<&Value> {
    let sets = of_kind(objects, "DaemonSet");
    let container = sets
        .first()
        .and_then(|set| set.pointer("/spec/template/spec/containers/0"));
    container.context("there is no agent")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn words(value: &Value) -> Vec<&str> {
    list(value).filter_map(Value::as_str).collect()
}

fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn default_capabilities_are_those_marked_so() {
        let page = "| capability | when |\n|---|---|\n| `BPF` | default | a |\n| `SYS_ADMIN` | optional | b |\n";
        assert_eq!(
            default_capabilities(page),
            BTreeSet::from(["BPF".to_owned()])
        );
    }

    #[test]
    fn a_role_only_reads() {
        let check = |resource: &str, verbs: Value, expected: bool| {
            let role = json!({ "rules": [{ "resources": [resource], "verbs": verbs }] });
            assert_eq!(check_role(&role).is_ok(), expected, "{role}");
        };
        check("pods", json!(["list", "watch"]), true);
        check("pods", json!(["list", "watch", "delete"]), false);
        check("secrets", json!(["list", "watch"]), false);
        check("nodes", json!(["get"]), true);
        check("secrets", json!(["get"]), false);
        check("namespaces", json!(["get"]), false);
    }
}
