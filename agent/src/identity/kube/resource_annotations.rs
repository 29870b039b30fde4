//! Annotations that are attributes of the Resource (semantic conventions, non-normative Kubernetes page).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::free_attributes::{MOST, ROOM, beginning, is_free};

const PREFIX: &str = "resource.opentelemetry.io/";

/// The attributes that a pod's annotations ask for, by key.
pub(super) fn resource_annotations(
    annotations: &BTreeMap<String, String>,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut room = ROOM;
    let attributes = annotations
        .range(PREFIX.to_owned()..)
        .map_while(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())));
    attributes
        .filter(|(key, _)| is_free(key))
        .take(MOST)
        .take_while(|(key, value)| {
            room = room.saturating_sub(key.len() + beginning(value).len());
            room > 0
        })
        .map(|(key, value)| (key.into(), beginning(value).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::free_attributes::{LONGEST_KEY, LONGEST_VALUE};

    fn check(annotations: &[(String, String)], expected: &[(&str, &str)]) {
        let found = resource_annotations(&annotations.iter().cloned().collect());
        let found: Vec<_> = found
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(found, expected);
    }

    fn of(key: &str, value: &str) -> (String, String) {
        (format!("{PREFIX}{key}"), value.to_owned())
    }

    #[test]
    fn what_the_agent_says_itself_nobody_else_does() {
        let keys = [
            "",
            "container.id",
            "host.name",
            "k8s.cluster.name",
            "k8s.pod.label.team",
            "service.name",
            "team",
            "telemetry.distro.name",
            "wellhead.slice",
        ];
        let mut all: Vec<_> = keys.map(|key| of(key, "x")).into();
        all.push(("another/team".to_owned(), "y".to_owned()));
        all.push(("z/team".to_owned(), "y".to_owned()));
        check(&all, &[("service.name", "x"), ("team", "x")]);
    }

    #[test]
    fn bounds() {
        let many: Vec<_> = (100..1_000).map(|n| of(&format!("key{n}"), "x")).collect();
        let found = resource_annotations(&many.iter().cloned().collect());
        assert_eq!((found.len(), &*found[MOST - 1].0), (MOST, "key131"));
        let (fits, long) = ("k".repeat(LONGEST_KEY), "k".repeat(LONGEST_KEY + 1));
        let value = format!("{}é", "v".repeat(LONGEST_VALUE - 1));
        check(
            &[of(&fits, &value), of(&long, "x")],
            &[(&fits, &value[..LONGEST_VALUE - 1])],
        );
    }
}
