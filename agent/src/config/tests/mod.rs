//! Whole configurations: what a file, variables and flags come to, and what is said when they are wrong.

mod errors;
mod kubernetes;
mod layers;
mod otlp;
mod prometheus;
mod resolver;

use std::{fmt::Write as _, path::Path};

use expect_test::Expect;

use super::{
    error::ConfigError,
    load::{Input, Loaded},
};

/// Loads a file's content, variables and flags, each a list of `NAME=value`, on a host called `host`.
fn load(yaml: &str, environment: &[&str], sets: &[&str]) -> Result<Loaded, ConfigError> {
    let pairs = |texts: &[&str]| -> Vec<(String, String)> {
        let split = texts
            .iter()
            .map(|text| text.split_once('=').expect("NAME=value"));
        split
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect()
    };
    load_bytes(yaml.as_bytes().to_vec(), &pairs(environment), &pairs(sets))
}

fn load_bytes(
    content: Vec<u8>,
    environment: &[(String, String)],
    sets: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    let input = Input {
        file: Some((Path::new("w.yaml"), Ok(content))),
        environment,
        sets,
        host: "host".to_owned(),
    };
    input.load(Vec::new())
}

/// Expects the problems of a configuration.
fn check_errors(yaml: &str, environment: &[&str], sets: &[&str], expected: &Expect) {
    let error = load(yaml, environment, sets).expect_err("something is wrong");
    expected.assert_eq(&format!("{error}\n"));
}

/// Expects the keys that were set, each with its origin, the warnings, and the effective values of the named sections or keys.
fn check(yaml: &str, environment: &[&str], sets: &[&str], keys: &[&str], expected: &Expect) {
    let loaded = load(yaml, environment, sets).expect("nothing is wrong");
    let mut shown = String::new();
    let effective = loaded.config.to_yaml().expect("printable");
    let effective: serde_json::Value = serde_saphyr::from_str_with_options(
        &effective,
        serde_saphyr::options! { strict_booleans: true },
    )
    .expect("valid YAML");
    for key in keys {
        let value = effective.pointer(&format!("/{}", key.replace('.', "/")));
        let value = value.unwrap_or(&serde_json::Value::Null);
        let origins: Vec<_> = loaded
            .sources
            .iter()
            .filter(|(path, _)| path.starts_with(key))
            .map(|(path, origin)| format!("{path} from {origin}"))
            .collect();
        writeln!(shown, "{key} = {value} ({})", origins.join(", "))
            .expect("a String takes any text");
    }
    for warning in &loaded.warnings {
        writeln!(shown, "warning: {warning}").expect("a String takes any text");
    }
    expected.assert_eq(&shown);
}
