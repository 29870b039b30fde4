//! The keys of what is kept of pods.

use expect_test::expect;

use super::*;

const KEYS: [&str; 2] = ["kubernetes.labels", "kubernetes.annotations"];

#[test]
fn lists_of_patterns_come_from_any_layer() {
    check(
        "kubernetes:\n  labels: [team, app.kubernetes.io/*]\n  annotations:\n    - \"*\"\n    - 7\n",
        &[],
        &[],
        &KEYS,
        &expect![[r#"
            kubernetes.labels = ["team","app.kubernetes.io/*"] (kubernetes.labels from w.yaml:2:3)
            kubernetes.annotations = ["*","7"] (kubernetes.annotations from w.yaml:3:3)
        "#]],
    );
    // A list replaces the one below.
    check(
        "kubernetes: {labels: [team], annotations: [team]}",
        &["WELLHEAD_KUBERNETES_LABELS=[app.kubernetes.io/*, tier]"],
        &["kubernetes.annotations=['*/owner']"],
        &KEYS,
        &expect![[r#"
            kubernetes.labels = ["app.kubernetes.io/*","tier"] (kubernetes.labels from WELLHEAD_KUBERNETES_LABELS)
            kubernetes.annotations = ["*/owner"] (kubernetes.annotations from --set kubernetes.annotations)
        "#]],
    );
    check(
        "kubernetes: {labels: [team]}",
        &["WELLHEAD_KUBERNETES_LABELS=[]"],
        &[],
        &KEYS,
        &expect![[r#"
            kubernetes.labels = [] (kubernetes.labels from WELLHEAD_KUBERNETES_LABELS)
            kubernetes.annotations = [] ()
        "#]],
    );
}

#[test]
fn patterns_that_no_key_can_match() {
    let long = "x".repeat(318);
    let yaml = format!(
        "kubernetes:\n  labels: [team, \"\", a b, {{a: b}}]\n  annotations:\n    - \"a\\tb\"\n    - {long}\n"
    );
    check_errors(
        &yaml,
        &["WELLHEAD_KUBERNETES_LABELS=team,tier"],
        &[
            "kubernetes.annotations=[*/owner]",
            "kubernetes.annotations=[*]",
        ],
        &expect![[r#"
            w.yaml:4:7: kubernetes.annotations[0]: `a\tb` has `\t` in it; allowed are letters and digits of ASCII, `-`, `_`, `.`, `/` and, for any run of characters, `*`
            w.yaml:5:7: kubernetes.annotations[1]: has 318 characters; at most 317, which no key is longer than
            WELLHEAD_KUBERNETES_LABELS: kubernetes.labels: must be a list
            --set kubernetes.annotations: no valid YAML: while parsing node, found unknown anchor; put a text that begins with `*` in quotes
            --set kubernetes.annotations: no valid YAML: while scanning an anchor or alias, did not find expected alphabetic or numeric character; put a text that begins with `*` in quotes
        "#]],
    );
    check_errors(
        &yaml,
        &[],
        &[],
        &expect![[r#"
            w.yaml:2:18: kubernetes.labels[1]: must not be empty; write a key such as `team`, or a pattern such as `app.kubernetes.io/*`
            w.yaml:2:22: kubernetes.labels[2]: `a b` has ` ` in it; allowed are letters and digits of ASCII, `-`, `_`, `.`, `/` and, for any run of characters, `*`
            w.yaml:2:27: kubernetes.labels[3]: invalid type: map, expected a key or a pattern of keys such as `app.kubernetes.io/*`
            w.yaml:4:7: kubernetes.annotations[0]: `a\tb` has `\t` in it; allowed are letters and digits of ASCII, `-`, `_`, `.`, `/` and, for any run of characters, `*`
            w.yaml:5:7: kubernetes.annotations[1]: has 318 characters; at most 317, which no key is longer than
        "#]],
    );
    check_errors(
        "kubernetes: {labels: team, annotations: {team: on}}",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:14: kubernetes.labels: must be a list
            w.yaml:1:28: kubernetes.annotations: must be a list
        "#]],
    );
}

#[test]
fn nobody_asks_for_pods() {
    check(
        "kubernetes: {mode: off, labels: [team], annotations: []}",
        &["WELLHEAD_KUBERNETES_ANNOTATIONS=[team]"],
        &[],
        &KEYS,
        &expect![[r#"
            kubernetes.labels = ["team"] (kubernetes.labels from w.yaml:1:25)
            kubernetes.annotations = ["team"] (kubernetes.annotations from WELLHEAD_KUBERNETES_ANNOTATIONS)
            warning: w.yaml:1:25: kubernetes.labels: has no effect: `kubernetes.mode` is `off`
            warning: WELLHEAD_KUBERNETES_ANNOTATIONS: kubernetes.annotations: has no effect: `kubernetes.mode` is `off`
        "#]],
    );
}
