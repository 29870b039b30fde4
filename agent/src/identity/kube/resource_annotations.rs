//! Annotations that are attributes of the Resource (semantic conventions, non-normative Kubernetes page).

use std::collections::BTreeMap;
use std::sync::Arc;

const PREFIX: &str = "resource.opentelemetry.io/";

/// Such annotations that are read of one pod; further ones, in the order of their keys, are left out.
const MOST: usize = 32;

/// A longer key is left out, bytes.
const LONGEST_KEY: usize = 256;

/// Of a longer value the beginning is kept, bytes. Labels have at most 63; annotations may be as long as the object.
pub(super) const LONGEST_VALUE: usize = 1 << 10;

/// What the agent found out, or says of itself. Whoever may make a pod may write its annotations, and not what it is called.
const RESERVED: [&str; 5] = ["k8s.", "container.", "host.", "telemetry.", "wellhead."];

/// The attributes that a pod's annotations ask for, by key.
pub(super) fn resource_annotations(
    annotations: &BTreeMap<String, String>,
) -> Vec<(Arc<str>, Arc<str>)> {
    let attributes = annotations
        .range(PREFIX.to_owned()..)
        .map_while(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())));
    attributes
        .filter(|(key, _)| is_free(key))
        .take(MOST)
        .map(|(key, value)| (key.into(), beginning(value).into()))
        .collect()
}

/// What is kept of the value of a label or annotation.
pub(super) fn beginning(value: &str) -> &str {
    &value[..value.floor_char_boundary(LONGEST_VALUE)]
}

fn is_free(key: &str) -> bool {
    let is_reserved = RESERVED.iter().any(|prefix| key.starts_with(prefix));
    !key.is_empty() && key.len() <= LONGEST_KEY && !is_reserved
}

#[cfg(test)]
mod tests {
    use super::*;

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
