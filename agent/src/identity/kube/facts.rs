//! What the API server says of the node and of the cluster as a whole. Little of it changes while a node runs, but it may not be there
//! yet when the node is new: clouds label nodes after these have joined.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::identity::facts::NodeFacts;

/// Its UID stands for the cluster's (semantic conventions 1.44, `k8s.cluster.uid`).
const CLUSTER_NAMESPACE: &str = "kube-system";

// Well-known labels (kubernetes.io/docs/reference/labels-annotations-taints).
const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";

/// Between two questions while something is missing: the first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// Attempts at one question, where the server is out of reach.
const ATTEMPTS: usize = 5;

/// Asks until everything is known, or nobody wants to know any more, and tells whenever there is something new.
pub async fn learn_facts(client: Client, node: String, tell: mpsc::Sender<NodeFacts>) {
    let mut known = NodeFacts::default();
    let (mut pause, longest) = PAUSES;
    loop {
        let facts = tokio::select! {
            facts = ask(&client, &node, DefaultBackoff::default) => facts.or(&known),
            () = tell.closed() => return,
        };
        if facts != known {
            known = facts.clone();
            if tell.send(facts).await.is_err() {
                return;
            }
        }
        if known.is_complete() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(longest),
            () = tell.closed() => return,
        }
    }
}

async fn ask<B: Backoff>(client: &Client, node: &str, backoff: impl Fn() -> B) -> NodeFacts {
    let nodes: Api<Node> = Api::all(client.clone());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let (node, cluster) = tokio::join!(
        metadata(&nodes, node, backoff().take(ATTEMPTS)),
        metadata(&namespaces, CLUSTER_NAMESPACE, backoff().take(ATTEMPTS))
    );
    let label = |key: &str| {
        let labels = node.as_ref()?.metadata.labels.as_ref()?;
        labels.get(key).map(|value| Arc::from(value.as_str()))
    };
    NodeFacts {
        zone: label(ZONE),
        region: label(REGION),
        node_uid: node.as_ref().and_then(uid),
        cluster_uid: cluster.as_ref().and_then(uid),
    }
}

fn uid<K>(object: &PartialObjectMeta<K>) -> Option<Arc<str>> {
    object.metadata.uid.as_deref().map(Arc::from)
}

/// `None` if the server says that there is none, or that it is none of the agent's business, or nothing.
async fn metadata<K>(
    api: &Api<K>,
    name: &str,
    mut backoff: impl Iterator<Item = Duration>,
) -> Option<PartialObjectMeta<K>>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    loop {
        match api.get_metadata(name).await {
            Ok(found) => return Some(found),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 404) => {
                let kind = K::kind(&());
                tracing::info!(%kind, name, code = status.code, "Resources go without what the API server does not tell");
                return None;
            }
            Err(error) => tracing::debug!(%error, name, "asked in vain"),
        }
        sleep(backoff.next()?).await;
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock;

    use super::*;
    use crate::identity::kube::testing::NoDelay;

    /// Asks a server that gives these answers for the node and for the namespace, one after the other.
    async fn asked(node: Vec<(u16, Value)>, namespace: Vec<(u16, Value)>) -> NodeFacts {
        let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
        let client = Client::new(service, "default");
        let serving = tokio::spawn(async move {
            let (mut node, mut namespace) = (node.into_iter(), namespace.into_iter());
            while let Some((request, reply)) = server.next_request().await {
                let answer = match request.uri().path() {
                    "/api/v1/nodes/node-a" => node.next(),
                    "/api/v1/namespaces/kube-system" => namespace.next(),
                    other => panic!("{other}"),
                };
                let (code, body) = answer.unwrap();
                let body = Body::from(body.to_string().into_bytes());
                reply.send_response(Response::builder().status(code).body(body).unwrap());
            }
        });
        let facts = ask(&client, "node-a", NoDelay::default).await;
        drop(client);
        serving.await.unwrap();
        facts
    }

    fn object(uid: &str, labels: &Value) -> Value {
        json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": {"uid": uid, "labels": labels},
        })
    }

    fn refusal(code: u16) -> (u16, Value) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": "no", "reason": "Whatever", "code": code,
        });
        (code, status)
    }

    #[tokio::test]
    async fn node_and_cluster() {
        let labels = json!({ZONE: "eu-1a", REGION: "eu-1", "other": "x"});
        let node = vec![refusal(503), (200, object("u-node", &labels))];
        let found = asked(node, vec![(200, object("u-cluster", &json!({})))]).await;
        let expected = NodeFacts {
            node_uid: Some("u-node".into()),
            zone: Some("eu-1a".into()),
            region: Some("eu-1".into()),
            cluster_uid: Some("u-cluster".into()),
        };
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn one_that_is_out_of_reach_does_not_keep_back_the_other() {
        let away = (0..=ATTEMPTS).map(|_| refusal(503)).collect();
        let found = asked(away, vec![(200, object("u-cluster", &json!({})))]).await;
        assert_eq!(found.cluster_uid, Some("u-cluster".into()));
        assert!(!found.is_complete());
    }

    #[tokio::test]
    async fn who_is_not_told_goes_without() {
        let found = asked(vec![refusal(403)], vec![refusal(404)]).await;
        assert_eq!(found, NodeFacts::default());
    }
}
