//! Asking what speaks PromQL.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use wellhead_tests::hostile::{Samples, with_bound};

use crate::support::request;

/// The series that a query finds, and the values they have now. A server that cannot be asked yet has none.
pub(crate) fn series(port: u16, query: &str) -> Samples {
    let answer = ask(port, &format!("/api/v1/query?query={}", encoded(query)));
    let result = answer["data"]["result"].as_array().cloned();
    result.unwrap_or_default().iter().map(sample).collect()
}

/// What a server on this machine answers.
pub(crate) fn ask(port: u16, path: &str) -> Value {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let response = request(address, "GET", path, &[("connection", "close")]);
    // It listens before it can be asked.
    if response.status == 503 {
        return Value::Null;
    }
    assert_eq!(response.status, 200, "{path}: {response:?}");
    serde_json::from_str(&response.text()).expect("JSON")
}

fn sample(series: &Value) -> ((String, BTreeMap<String, String>), f64) {
    let labels = series["metric"].as_object().expect("labels");
    let mut labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
        .collect();
    let name = labels.remove("__name__").unwrap_or_default();
    let value = series["value"][1].as_str().expect("a text");
    (with_bound((name, labels)), value.parse().expect("a number"))
}

/// A text in a URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("written");
        }
    }
    encoded
}
