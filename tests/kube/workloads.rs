//! Pods of all kinds reach the state that the API promises of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::World;
use super::cluster::{Cluster, expect, is_ready, items, name, owner, until};

const NAMESPACE: &str = "workloads";

/// Where a pod finds what it needs to ask the API server.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(crate) fn deployments_have_their_pods_running(world: &World) {
    let cluster = &world.cluster;
    for (name, replicas) in [("web", 2), ("client", 3)] {
        let pods = running(cluster, name, replicas);
        let owners: BTreeSet<String> = pods.iter().map(|pod| owner(pod).to_string()).collect();
        assert_eq!(owners.len(), 1, "one ReplicaSet owns them: {owners:?}");
    }
}

pub(crate) fn every_backend_answers_through_the_service(world: &World) {
    let cluster = &world.cluster;
    let backends = running(cluster, "web", 2);
    let backends: BTreeSet<String> = backends.iter().map(name).collect();
    let client = name(&running(cluster, "client", 3)[0]);
    let service = cluster.get(NAMESPACE, &["service", "web"]);
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    answers(cluster, &client, address, &backends);
    answers(cluster, "host-network", address, &backends);
    // A backend that is sent to itself has to understand it.
    let backend = backends.first().unwrap();
    answers(cluster, backend, address, &backends);
}

pub(crate) fn pods_reach_the_api_server_by_their_account(world: &World) {
    let cluster = &world.cluster;
    let client = name(&running(cluster, "client", 3)[0]);
    let ask = |path: &str| {
        let script = format!(
            "wget -q -O - --header \"Authorization: Bearer $(cat {ACCOUNT}/token)\" \
             \"https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT{path}\""
        );
        cluster.exec(NAMESPACE, &client, &["sh", "-c", &script])
    };
    // Whoever is known may ask what there is, but not for pods.
    let groups = until("an answer of the API server", || ask("/apis"));
    assert!(groups.contains("APIGroupList"), "{groups}");
    let refused = ask(&format!("/api/v1/namespaces/{NAMESPACE}/pods")).unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    for file in ["ca.crt", "namespace"] {
        let text = cluster.exec(NAMESPACE, &client, &["cat", &format!("{ACCOUNT}/{file}")]);
        assert!(text.is_ok_and(|text| !text.is_empty()), "no {file}");
    }
    let user = format!("system:serviceaccount:{NAMESPACE}:default");
    let events = cluster.audit();
    let of_pod = |path: &str, code: u64| {
        events.iter().any(|event| {
            event["user"]["username"] == user.as_str()
                && event["requestURI"] == path
                && event["responseStatus"]["code"] == code
        })
    };
    assert!(of_pod("/apis", 200));
    assert!(of_pod(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), 403));
}

pub(crate) fn jobs_end(world: &World) {
    let cluster = &world.cluster;
    until("the job's end", || {
        let job = cluster.get(NAMESPACE, &["job", "once"]);
        expect(job["status"]["succeeded"] == 1, &job["status"])
    });
    until("a job of the CronJob's", || {
        let jobs = cluster.get(NAMESPACE, &["jobs"]);
        let ended = items(&jobs)
            .iter()
            .any(|job| owner(job) == "minutely" && job["status"]["succeeded"] == 1);
        expect(ended, &jobs["items"])
    });
}

pub(crate) fn a_pod_of_the_hosts_network_has_the_nodes_address(world: &World) {
    let cluster = &world.cluster;
    let status = until("the pod", || {
        let pod = cluster.get(NAMESPACE, &["pod", "host-network"]);
        expect(is_ready(&pod), &pod["status"]).map(|()| pod["status"].clone())
    });
    assert_eq!(status["podIP"], status["hostIP"], "{status}");
}

pub(crate) fn init_containers_come_first(world: &World) {
    let cluster = &world.cluster;
    let pod = until("the pod", || {
        let pod = cluster.get(NAMESPACE, &["pod", "initialised"]);
        expect(is_ready(&pod), &pod["status"]).map(|()| pod)
    });
    let first = &pod["status"]["initContainerStatuses"][0]["state"];
    assert_eq!(first["terminated"]["exitCode"], 0, "{first}");
    let shared = cluster.exec(NAMESPACE, "initialised", &["cat", "/shared/first"]);
    assert_eq!(shared.as_deref(), Ok("done\n"));
}

pub(crate) fn a_container_that_crashes_is_started_again(world: &World) {
    let cluster = &world.cluster;
    until("the second crash", || {
        let pod = cluster.get(NAMESPACE, &["pod", "crashing"]);
        let container = &pod["status"]["containerStatuses"][0];
        let crashed = container["restartCount"].as_u64() >= Some(1)
            && container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && container["lastState"]["terminated"]["exitCode"] == 3;
        expect(crashed, container)
    });
}

/// The pods of a deployment, once all are ready.
fn running(cluster: &Cluster, app: &str, replicas: usize) -> Vec<Value> {
    until(&format!("the pods of {app}"), || {
        let pods = cluster.get(NAMESPACE, &["pods", "--selector", &format!("app={app}")]);
        let ready: Vec<Value> = items(&pods)
            .iter()
            .filter(|pod| is_ready(pod))
            .cloned()
            .collect();
        expect(ready.len() == replicas, &pods["items"]).map(|()| ready)
    })
}

/// Asks a service until all of its backends have answered.
fn answers(cluster: &Cluster, pod: &str, address: &str, backends: &BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    until(&format!("answers of all backends to {pod}"), || {
        let url = format!("http://{address}/");
        let answer = cluster.exec(
            NAMESPACE,
            pod,
            &["timeout", "5", "wget", "-q", "-O", "-", &url],
        )?;
        seen.insert(answer.trim_end().to_owned());
        if seen == *backends {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
}
