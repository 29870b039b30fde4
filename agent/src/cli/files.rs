//! The files that a configuration names for TLS, and whether they can be used.

use crate::admin::AccessSettings;
use crate::causes::chain;
use crate::config::{Config, Loaded, OtlpSignalTls, Problem, Signal};
use crate::daemon::Settings;
use crate::export::otlp::SignalSettings;
use crate::resolver::ResolverSettings;
use crate::tls::{ClientFiles, TlsError};

/// The files of a section.
#[derive(Debug)]
pub(super) struct Files {
    /// The section of the configuration, or the key.
    pub(super) key: String,
    /// What is wrong with them.
    pub(super) fault: Option<Fault>,
}

/// What is wrong with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They cannot be used.
    Useless(String),
    /// The certificate can be used, and whoever is shown it will not like it: its time is over or has not come.
    Lapsed(String),
}

impl Fault {
    fn of(error: &TlsError) -> Self {
        let text = chain(error);
        match error {
            TlsError::Lapsed { .. } => Self::Lapsed(text),
            _ => Self::Useless(text),
        }
    }

    pub(super) fn text(&self) -> &str {
        let (Self::Useless(text) | Self::Lapsed(text)) = self;
        text
    }
}

/// Reads all that are used.
pub(super) fn look(config: &Config, settings: &Settings) -> Vec<Files> {
    let mut all = Vec::new();
    let mut add = |key: String, fault: Option<Fault>| {
        if all.iter().all(|files: &Files| files.key != key) {
            all.push(Files { key, fault });
        }
    };
    let fault = |checked: Result<(), TlsError>| checked.err().map(|error| Fault::of(&error));
    for (signal, settings) in [
        (Signal::Metrics, &settings.otlp.metrics),
        (Signal::Traces, &settings.otlp.traces),
        (Signal::Logs, &settings.otlp.logs),
    ] {
        if let Some(files) = settings.as_ref().and_then(used) {
            add(section(config, signal), fault(files.check()));
        }
    }
    let resolver = settings.resolver.as_ref();
    let resolver = resolver.filter(|resolver| resolver.is_secure() && resolver.tls.is_any());
    if let Some(resolver) = resolver {
        add(
            "kubernetes.resolver_tls".to_owned(),
            fault(resolver.tls.check()),
        );
    }
    let access = AccessSettings::new(&config.prometheus);
    if let Some(files) = &access.tls {
        add("prometheus.tls".to_owned(), fault(files.check()));
    }
    if let Some(checked) = access.check_token() {
        let fault = checked.err().map(|error| Fault::Useless(chain(&error)));
        add("prometheus.bearer_token_file".to_owned(), fault);
    }
    if let Some(files) = &ResolverSettings::new(config).tls {
        add("resolver.tls".to_owned(), fault(files.check()));
    }
    all
}

/// The same as problems of the configuration: those that keep an agent from working, and those that are a warning.
pub(super) fn problems(loaded: &Loaded, settings: &Settings) -> (Vec<Problem>, Vec<Problem>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for Files { key, fault } in look(&loaded.config, settings) {
        let Some(fault) = fault else { continue };
        let problem = Problem {
            origin: loaded.origin(&key),
            key,
            message: fault.text().to_owned(),
        };
        match fault {
            Fault::Useless(_) => errors.push(problem),
            Fault::Lapsed(_) => warnings.push(problem),
        }
    }
    (errors, warnings)
}

fn used(settings: &SignalSettings) -> Option<&ClientFiles> {
    Some(&settings.tls).filter(|files| settings.is_secure() && files.is_any())
}

/// Where what a signal uses is set.
fn section(config: &Config, signal: Signal) -> String {
    let own = config.otlp.overrides(signal);
    if own.tls == OtlpSignalTls::default() {
        return "otlp.tls".to_owned();
    }
    let name = match signal {
        Signal::Metrics => "metrics",
        Signal::Traces => "traces",
        Signal::Logs => "logs",
    };
    format!("otlp.{name}.tls")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tls::testing::{expired, file, pair};

    /// What is said of each section, with names of files instead of paths.
    fn check(sets: &[(&str, &str)], expected: &[(&str, Option<&str>)]) {
        let sets: Vec<_> = sets
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let environment: [(String, String); 0] = [];
        let loaded = crate::config::load(None, environment, &sets).unwrap();
        let settings = Settings::new(&loaded.config).unwrap();
        let found = look(&loaded.config, &settings);
        let keys: Vec<_> = found.iter().map(|files| &*files.key).collect();
        let expected_keys: Vec<_> = expected.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, expected_keys);
        for (files, (key, words)) in found.iter().zip(expected) {
            let text = files.fault.as_ref().map_or("", Fault::text);
            match words {
                None => assert_eq!(text, "", "{key}"),
                Some(words) => assert!(text.contains(words), "{key}: {text}"),
            }
        }
        let (errors, warnings) = problems(&loaded, &settings);
        assert_eq!(
            errors.len() + warnings.len(),
            expected.iter().filter(|(_, words)| words.is_some()).count()
        );
        for problem in errors.iter().chain(&warnings) {
            assert!(problem.to_string().starts_with("--set "), "{problem}");
        }
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn only_what_is_used_is_looked_at() {
        check(&[], &[]);
        let missing = "/nonexistent.pem";
        check(
            &[
                ("otlp.endpoint", "http://c:1"),
                ("otlp.tls.ca_file", missing),
                ("kubernetes.resolver", "http://r:1"),
                ("kubernetes.resolver_tls.ca_file", missing),
            ],
            &[],
        );
        check(
            &[
                ("otlp.endpoint", "https://c:1"),
                ("kubernetes.resolver", "https://r:1"),
            ],
            &[],
        );
    }

    #[test]
    fn each_section_is_told_of_once() {
        let ours = pair("ours");
        let (cert, key, ca) = (text(&ours.cert), text(&ours.key), file("ours-ca.pem"));
        let others = pair("others");
        let expired = expired();
        let missing = "/nonexistent.pem";
        check(
            &[
                ("otlp.endpoint", "https://c:1"),
                ("otlp.tls.ca_file", missing),
                ("otlp.traces.tls.ca_file", text(&ca)),
                ("otlp.traces.tls.cert_file", cert),
                ("otlp.traces.tls.key_file", text(&others.key)),
                ("events.export", "on"),
                ("kubernetes.resolver", "https://r:1"),
                ("kubernetes.resolver_tls.ca_file", key),
                ("prometheus.tls.cert_file", text(&expired.cert)),
                ("prometheus.tls.key_file", key),
                ("prometheus.bearer_token_file", missing),
                ("resolver.tls.cert_file", cert),
                ("resolver.tls.key_file", key),
                ("resolver.tls.client_ca_file", text(&ca)),
            ],
            &[
                (
                    "otlp.tls",
                    Some("cannot read /nonexistent.pem: No such file"),
                ),
                (
                    "otlp.traces.tls",
                    Some("others-key.pem cannot be used together"),
                ),
                (
                    "kubernetes.resolver_tls",
                    Some("ours-key.pem holds no PEM certificates"),
                ),
                ("prometheus.tls", Some("certificate expired")),
                (
                    "prometheus.bearer_token_file",
                    Some("cannot read /nonexistent.pem"),
                ),
                ("resolver.tls", None),
            ],
        );
    }
}
