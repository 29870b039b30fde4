//! What differs between two configurations, and what of it a running agent can take up.

use serde_json::Value;

use super::catalogue;
use super::keys::Config;

/// What the documentation says of keys that [`Config::with_live_of`] takes over.
#[cfg(test)]
const SAID: &str = "Taken up while the agent runs.";

/// Keys that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A running agent takes them up.
    pub live: Vec<&'static str>,
    /// These wait for the next start.
    pub at_restart: Vec<&'static str>,
}

impl Config {
    /// This configuration with everything of another one that can be taken up without a restart.
    #[must_use]
    pub fn with_live_of(&self, new: &Self) -> Self {
        let mut taken = self.clone();
        taken.log.level = new.log.level;
        taken
            .kubernetes
            .namespaces
            .clone_from(&new.kubernetes.namespaces);
        taken.cluster_name.clone_from(&new.cluster_name);
        taken
            .resource_attributes
            .clone_from(&new.resource_attributes);
        taken.peers.addresses = new.peers.addresses;
        taken.peers.cidrs.clone_from(&new.peers.cidrs);
        taken.series_limit = new.series_limit;
        taken.series_limit_per_metric = new.series_limit_per_metric;
        taken.series_idle_timeout = new.series_idle_timeout;
        taken.dns.question_name = new.dns.question_name;
        taken.process.args = new.process.args;
        taken.events.kinds.clone_from(&new.events.kinds);
        taken.events.rate_limit = new.events.rate_limit;
        taken
    }

    /// The keys that are different in another configuration.
    pub fn changes(&self, new: &Self) -> Changes {
        let taken = self.with_live_of(new);
        Changes {
            live: self.differing(&taken),
            at_restart: taken.differing(new),
        }
    }

    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let json = |config: &Self| serde_json::to_value(config).unwrap_or_default();
        let (one, two) = (json(self), json(other));
        let keys = catalogue::keys().map(|entry| entry.path.as_str());
        keys.filter(|key| at(&one, key) != at(&two, key) || self.secret_differs(other, key))
            .collect()
    }

    /// Headers are the same as JSON, whatever their values.
    fn secret_differs(&self, other: &Self, key: &str) -> bool {
        match key {
            "otlp.headers" => self.otlp.headers != other.otlp.headers,
            "otlp.metrics.headers" => self.otlp.metrics.headers != other.otlp.metrics.headers,
            "otlp.traces.headers" => self.otlp.traces.headers != other.otlp.traces.headers,
            "otlp.logs.headers" => self.otlp.logs.headers != other.otlp.logs.headers,
            _ => false,
        }
    }
}

fn at<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    config.pointer(&format!("/{}", key.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn config(sets: &[(&str, &str)]) -> Config {
        let sets: Vec<_> = sets
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let environment: [(String, String); 0] = [];
        load(None, environment, &sets).unwrap().config
    }

    fn check(old: &[(&str, &str)], new: &[(&str, &str)], live: &[&str], at_restart: &[&str]) {
        let (old, new) = (config(old), config(new));
        let changes = old.changes(&new);
        assert_eq!((&*changes.live, &*changes.at_restart), (live, at_restart));
        let taken = old.with_live_of(&new);
        assert_eq!(taken.changes(&new).live, Vec::<&str>::new());
    }

    /// Another value than the default of every key that is said to be live, and of some that are not.
    #[test]
    fn the_documentation_tells_which_keys_are_live() {
        let said: Vec<_> = catalogue::keys()
            .filter(|entry| entry.meaning.contains(SAID))
            .map(|entry| entry.path.as_str())
            .collect();
        let new = config(&[
            ("log.level", "debug"),
            ("kubernetes.namespaces.include", "[shop]"),
            ("kubernetes.namespaces.exclude", "[kube-system]"),
            ("cluster_name", "c"),
            ("resource_attributes.a", "b"),
            ("peers.addresses", "ip"),
            ("peers.cidrs", r#"[{"name": "a", "cidr": "10.0.0.0/8"}]"#),
            ("series_limit", "500"),
            ("series_limit_per_metric", "50"),
            ("series_idle_timeout", "1m"),
            ("process.args", "off"),
            ("events.kinds", r#"["process.exec"]"#),
            ("events.rate_limit", "off"),
            ("dns.question_name", "on"),
            ("dns.ports", "[53, 5353]"),
            ("memory_budget", "1GiB"),
            ("shutdown_grace", "1s"),
            ("snapshot_interval", "1m"),
            ("log.format", "json"),
            ("otlp.timeout", "1s"),
            ("prometheus.scope_labels", "on"),
            ("traces.slow_connection", "9s"),
            ("pins.keep", "off"),
        ]);
        let mut live = config(&[]).changes(&new).live;
        live.sort_by_key(|key| said.iter().position(|known| known == key));
        assert_eq!(live, said);
    }

    #[test]
    fn what_is_live_and_what_waits() {
        check(&[], &[], &[], &[]);
        check(
            &[("log.level", "info")],
            &[("log.level", "debug"), ("memory_budget", "256MiB")],
            &["log.level"],
            &["memory_budget"],
        );
        check(
            &[("resource_attributes.a", "1"), ("cluster_name", "one")],
            &[("resource_attributes.a", "2"), ("series_limit", "500")],
            &["cluster_name", "resource_attributes", "series_limit"],
            &[],
        );
        check(
            &[("log.format", "json")],
            &[("log.format", "text"), ("peers.addresses", "ip")],
            &["peers.addresses"],
            &["log.format"],
        );
        check(
            &[("otlp.headers.authorization", "one")],
            &[("otlp.headers.authorization", "two")],
            &[],
            &["otlp.headers"],
        );
    }
}
