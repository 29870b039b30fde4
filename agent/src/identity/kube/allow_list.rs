//! Which labels and annotations of pods are on their Resources.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use crate::identity::free_attributes::beginning;
use crate::identity::glob::Glob;

/// What is kept of one pod, bytes of attributes' names and values. The memory budget counts on it.
const ROOM: usize = 4 << 10;

/// Attributes are named so (semantic conventions 1.44, registry of Kubernetes attributes), followed by the key.
const LABEL_PREFIX: &str = "k8s.pod.label.";
const ANNOTATION_PREFIX: &str = "k8s.pod.annotation.";

/// The labels and annotations that were asked for; by default none.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    labels: Vec<Glob>,
    annotations: Vec<Glob>,
    has_warned: bool,
}

impl AllowList {
    /// Keys, or patterns of keys in which `*` stands for any run of characters.
    pub fn new<'a>(
        labels: impl IntoIterator<Item = &'a str>,
        annotations: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            labels: labels.into_iter().map(Glob::new).collect(),
            annotations: annotations.into_iter().map(Glob::new).collect(),
            has_warned: false,
        }
    }

    /// The attributes of a pod that has these: of labels first, in the order of their keys. What finds no room is left out.
    pub(super) fn attributes(
        &mut self,
        pod: &str,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Vec<(Arc<str>, Arc<str>)> {
        let chosen = [
            (LABEL_PREFIX, &self.labels, labels),
            (ANNOTATION_PREFIX, &self.annotations, annotations),
        ];
        let (mut found, mut room, mut left_out) = (Vec::new(), ROOM, 0_usize);
        for (prefix, globs, all) in chosen {
            let allowed = |key: &str| globs.iter().any(|glob| glob.matches(key));
            for (key, value) in all.iter().filter(|(key, _)| allowed(key)) {
                let value = beginning(value);
                match room.checked_sub(prefix.len() + key.len() + value.len()) {
                    Some(rest) => {
                        room = rest;
                        found.push((format!("{prefix}{key}").into(), value.into()));
                    }
                    None => left_out += 1,
                }
            }
        }
        if left_out > 0 && !mem::replace(&mut self.has_warned, true) {
            tracing::warn!(
                pod,
                left_out,
                room = ROOM,
                "left out labels or annotations: they take more room than a pod's may; not said again"
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::free_attributes::LONGEST_VALUE;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    fn attributes(
        mut list: AllowList,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Vec<(Arc<str>, Arc<str>)> {
        list.attributes("web-0", &map(labels), &map(annotations))
    }

    #[test]
    fn only_what_was_asked_for() {
        let check = |labels: &[&str], annotations: &[&str], expected: &[(&str, &str)]| {
            let list = AllowList::new(labels.iter().copied(), annotations.iter().copied());
            let found = attributes(
                list,
                &[
                    ("app.kubernetes.io/name", "web"),
                    ("app.kubernetes.io/version", ""),
                    ("team", "shop"),
                ],
                &[
                    ("example.com/owner", "Zoë <zoe@example.com>"),
                    ("team", "b"),
                ],
            );
            let found: Vec<_> = found
                .iter()
                .map(|(key, value)| (&**key, &**value))
                .collect();
            assert_eq!(found, expected, "{labels:?} {annotations:?}");
        };
        check(&[], &[], &[]);
        check(&["te"], &["owner"], &[]);
        check(&["team"], &[], &[("k8s.pod.label.team", "shop")]);
        check(&[], &["team"], &[("k8s.pod.annotation.team", "b")]);
        // An empty value says that the label is there.
        check(
            &["app.kubernetes.io/*", "*name"],
            &["*/owner"],
            &[
                ("k8s.pod.label.app.kubernetes.io/name", "web"),
                ("k8s.pod.label.app.kubernetes.io/version", ""),
                (
                    "k8s.pod.annotation.example.com/owner",
                    "Zoë <zoe@example.com>",
                ),
            ],
        );
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let check = |value: &str, expected: &str| {
            let found = attributes(AllowList::new([], ["a"]), &[], &[("a", value)]);
            let found = found.first().map(|(_, value)| &**value);
            assert_eq!(found, Some(expected), "{} bytes", value.len());
        };
        let just_fits = "x".repeat(LONGEST_VALUE);
        check(&just_fits, &just_fits);
        check(&format!("{just_fits}y"), &just_fits);
        check(&"x".repeat(256 << 10), &just_fits);
        let (before, after) = just_fits.split_at(LONGEST_VALUE - 1);
        check(&format!("{before}é{after}"), before);
    }

    #[test]
    fn what_finds_no_room_is_left_out() {
        let big = "x".repeat(LONGEST_VALUE);
        let mut list = AllowList::new(["*"], ["*"]);
        let annotations = map(&[
            ("a", &big),
            ("b", &big),
            ("c", &big),
            ("d", &big),
            ("e", "small"),
        ]);
        let found = list.attributes("web-0", &map(&[("z", "label")]), &annotations);
        let keys: Vec<_> = found.iter().map(|(key, _)| &**key).collect();
        assert_eq!(
            keys,
            [
                "k8s.pod.label.z",
                "k8s.pod.annotation.a",
                "k8s.pod.annotation.b",
                "k8s.pod.annotation.c",
                "k8s.pod.annotation.e",
            ]
        );
        assert!(list.has_warned);
    }

    proptest! {
        #[test]
        fn whatever_they_are_they_stay_within_their_room(
            labels in proptest::collection::btree_map("\\PC{0,400}", "\\PC{0,70}", 0..40),
            annotations in proptest::collection::btree_map(".{0,20}", ".{0,3000}", 0..8),
        ) {
            let found = AllowList::new(["*"], ["*"]).attributes("web-0", &labels, &annotations);
            let size: usize = found.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert!(size <= ROOM);
            for (key, value) in &found {
                let label = key.strip_prefix(LABEL_PREFIX).map(|key| &labels[key]);
                let annotation = key.strip_prefix(ANNOTATION_PREFIX).map(|key| &annotations[key]);
                let all = label.or(annotation).unwrap();
                prop_assert!(all.starts_with(&**value));
                prop_assert!(**value == **all || value.len() > LONGEST_VALUE - 4);
            }
        }
    }
}
