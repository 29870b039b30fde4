//! `wellhead resolver` from the outside: what keeps it from starting. What it tells is tested beside its code.

use std::net::TcpListener;

use crate::support::{Finished, finish, wellhead};

/// To its end, on ports of its own and without a cluster.
fn run(settings: &[&str]) -> Finished {
    let fixed = [
        "resolver.listen=127.0.0.1:0",
        "resolver.http_listen=127.0.0.1:0",
    ];
    let mut words = vec!["resolver"];
    for setting in fixed.iter().chain(settings) {
        words.extend(["--set", setting]);
    }
    finish(wellhead(&words).env("HOME", "/nonexistent"))
}

#[test]
fn what_keeps_a_resolver_from_starting() {
    run(&[]).check(
        69,
        &["Kubernetes is required", "neither in-cluster credentials"],
    );
    let certificate = "resolver.tls.cert_file=/nonexistent/cert.pem";
    let key = "resolver.tls.key_file=/nonexistent/key.pem";
    run(&[certificate]).check(64, &["resolver.tls.key_file"]);
    run(&[certificate, key]).check(64, &["cannot read /nonexistent/cert.pem"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    for key in ["resolver.listen", "resolver.http_listen"] {
        run(&[&format!("{key}={address}")]).check(98, &[key, &address.to_string()]);
    }
}
