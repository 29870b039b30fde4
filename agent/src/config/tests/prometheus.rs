//! Who may read what the listener shows.

use expect_test::expect;

use super::*;

#[test]
fn certificates_have_keys_and_authorities_need_certificates() {
    check_errors(
        "prometheus: {tls: {cert_file: /c}}\n",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:20: prometheus.tls.cert_file: is of no use alone; set `prometheus.tls.key_file` too
        "#]],
    );
    check_errors(
        "prometheus: {tls: {client_ca_file: /ca}}\n",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:20: prometheus.tls.client_ca_file: needs TLS; set `prometheus.tls.cert_file` and `prometheus.tls.key_file` too
        "#]],
    );
}

#[test]
fn a_token_that_others_can_read_on_its_way_is_warned_of() {
    check(
        "prometheus: {listen: 0.0.0.0:9464, bearer_token_file: /t}\n",
        &[],
        &[],
        &["prometheus.bearer_token_file"],
        &expect![[r#"
            prometheus.bearer_token_file = "/t" (prometheus.bearer_token_file from w.yaml:1:36)
            warning: w.yaml:1:36: prometheus.bearer_token_file: the token is sent in the clear: `prometheus.tls` is not set
        "#]],
    );
    check(
        "prometheus: {bearer_token_file: /t}\n",
        &[],
        &[],
        &["prometheus.bearer_token_file"],
        &expect![[r#"
            prometheus.bearer_token_file = "/t" (prometheus.bearer_token_file from w.yaml:1:14)
        "#]],
    );
    check(
        "prometheus: {listen: 0.0.0.0:9464, bearer_token_file: /t, tls: {cert_file: /c, key_file: /k}}\n",
        &[],
        &[],
        &["prometheus.bearer_token_file"],
        &expect![[r#"
            prometheus.bearer_token_file = "/t" (prometheus.bearer_token_file from w.yaml:1:36)
        "#]],
    );
}
