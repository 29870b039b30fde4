//! Resources when the configuration changes, and when more is learned of the node.

use super::*;
use crate::identity::NodeFacts;

/// What resources say under a key.
fn said(resource: &Resource, key: &str) -> Option<String> {
    let mut attributes = resource.attributes.iter();
    let (_, value) = attributes.find(|(known, _)| **known == *key)?;
    value.as_str().map(str::to_owned)
}

#[test]
fn every_resource_is_written_as_if_it_had_always_been_configured_so() {
    let mut all = Fixture::kubernetes();
    let configured = |attributes: &[(&str, &str)]| IdentitySettings {
        node_name: "node-a".into(),
        kubernetes: true,
        cluster_name: Some("c".to_owned()),
        resource_attributes: attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..IdentitySettings::default()
    };
    let owner = all.container(7, C1, 0);
    all.apply(PodInfo {
        resource_annotations: vec![("team".into(), "pods".into())],
        ..web(&[("app", C1)])
    });
    assert_eq!(said(&all.ready(owner, 0), "team").unwrap(), "pods");
    all.identity
        .reconfigure(&configured(&[("team", "ours"), ("cloud.region", "eu")]));
    let first = all.ready(owner, 0);
    assert_eq!(said(&first, "team").unwrap(), "ours");
    assert_eq!(said(&first, "cloud.region").unwrap(), "eu");
    assert_eq!(said(&first, "k8s.cluster.name").unwrap(), "c");

    all.identity.facts_learned(NodeFacts {
        region: Some("eu".into()),
        zone: Some("eu-1".into()),
        ..NodeFacts::default()
    });
    // Gone, and yet told of.
    all.identity
        .apply(PodUpdate::Deleted { uid: UID.into() }, moment(1));
    all.identity.expire(1_000);
    all.identity.reconfigure(&configured(&[]));
    for resource in [all.ready(owner, 1_000), all.identity.node_resource()] {
        assert_eq!(said(&resource, "cloud.region").unwrap(), "eu");
        assert_eq!(said(&resource, "cloud.availability_zone").unwrap(), "eu-1");
    }
    let last = all.ready(owner, 1_000);
    assert_eq!(said(&last, "team").unwrap(), "pods");
    assert_eq!(said(&last, "k8s.container.name").unwrap(), "app");

    // Nothing changes: the same object.
    all.identity.reconfigure(&configured(&[]));
    assert!(Arc::ptr_eq(&last, &all.ready(owner, 1_000)));
}
