//! The keys of the resolver, the agent's side and its own.

use expect_test::expect;

use super::*;

#[test]
fn where_a_resolver_is() {
    for url in ["http://wellhead-resolver:7443", "https://[fd00::1]:7443/"] {
        let yaml = format!("kubernetes: {{resolver: '{url}'}}");
        let loaded = load(&yaml, &[], &[]).expect("nothing is wrong");
        assert_eq!(loaded.config.kubernetes.resolver.as_deref(), Some(url));
    }
    for url in [
        "resolver:7443",
        "http://resolver",
        "grpc://resolver:7443",
        "http://user@resolver:7443",
        "http://resolver:7443/path",
        "http://:7443",
        "",
    ] {
        let yaml = format!("kubernetes: {{resolver: '{url}'}}");
        let error = load(&yaml, &[], &[]).map(drop);
        if url.is_empty() {
            // A key without a value is not set.
            continue;
        }
        let error = error.expect_err(url).to_string();
        assert!(
            error.contains(&format!("`{url}` is no URL with a host and a port")),
            "{error}"
        );
    }
}

#[test]
fn certificates_have_keys() {
    check_errors(
        "kubernetes: {resolver: 'https://r:1', resolver_tls: {cert_file: /c}}\nresolver: {tls: {client_ca_file: /ca}}\n",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:54: kubernetes.resolver_tls.cert_file: is of no use alone; set `kubernetes.resolver_tls.key_file` too
            w.yaml:2:18: resolver.tls.client_ca_file: needs TLS; set `resolver.tls.cert_file` and `resolver.tls.key_file` too
        "#]],
    );
    check_errors(
        "resolver: {tls: {key_file: /k}}\n",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:18: resolver.tls.key_file: is of no use alone; set `resolver.tls.cert_file` too
        "#]],
    );
}

#[test]
fn what_has_no_effect_is_said() {
    check(
        "kubernetes: {resolver: 'http://r:1', resolver_tls: {ca_file: /ca}}\npeers: {kubernetes: on}\n",
        &[],
        &[],
        &["resolver"],
        &expect![[r#"
            resolver = {"listen":"0.0.0.0:7443","http_listen":"0.0.0.0:9465"} ()
            warning: w.yaml:1:53: kubernetes.resolver_tls.ca_file: has no effect: `kubernetes.resolver` is no `https` URL
            warning: w.yaml:2:9: peers.kubernetes: has no effect: `kubernetes.resolver` is set
        "#]],
    );
}
