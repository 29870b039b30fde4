//! Settings from `WELLHEAD_*` variables and `--set` flags.

use super::{
    catalogue::{self, Entry, Shape},
    error::{Origin, Problem},
    node::{Node, Value},
    yaml,
};

/// Variables of ours that are no keys: the file's name, and what build and tests use.
const RESERVED: [&str; 5] = [
    "WELLHEAD_CONFIG",
    "WELLHEAD_BIN",
    "WELLHEAD_EBPF_OBJECT",
    "WELLHEAD_REQUIRE_KERNEL",
    "WELLHEAD_TOOLS",
];

const PREFIX: &str = "WELLHEAD_";

/// The layer of all `WELLHEAD_*` variables.
pub(super) fn variables(variables: &[(String, String)], problems: &mut Vec<Problem>) -> Node {
    let mut layer = Node::empty();
    for (name, text) in variables {
        if text.is_empty() || !name.starts_with(PREFIX) || is_foreign(name, variables) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        let Some(entry) = catalogue::keys().find(|entry| entry.variable() == *name) else {
            problems.push(unknown_variable(name, origin));
            continue;
        };
        match node(entry.shape, text, &origin) {
            Ok(node) => layer.lay(Node::nested(entry.path.split('.'), node)),
            Err(message) => problems.push(Problem {
                origin,
                key: entry.path.clone(),
                message,
            }),
        }
    }
    layer
}

fn unknown_variable(name: &str, origin: Origin) -> Problem {
    let names: Vec<String> = catalogue::keys().map(Entry::variable).collect();
    let message = match catalogue::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("no such variable; did you mean `{near}`?"),
        None => "no such variable; `wellhead config schema` lists all keys".to_owned(),
    };
    Problem {
        origin,
        key: String::new(),
        message,
    }
}

/// Whether a variable with our prefix is not meant to set a key.
fn is_foreign(name: &str, variables: &[(String, String)]) -> bool {
    RESERVED.contains(&name)
        || name.starts_with("WELLHEAD_TEST_")
        || is_service_link(name, variables)
}

/// Whether kubelet made this variable for a Service whose name starts with `wellhead`
/// (Kubernetes documentation, "Accessing the Service", environment variables): `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_<NAME>`, `…_PORT`, `…_PORT_<N>_TCP` and `…_PORT_<N>_TCP_{PROTO,PORT,ADDR}`. It makes all of
/// them, so one that is alone is a mistake.
fn is_service_link(name: &str, variables: &[(String, String)]) -> bool {
    const HOST: &str = "_SERVICE_HOST";
    let mut services = variables
        .iter()
        .filter_map(|(known, _)| known.strip_suffix(HOST));
    services.any(|service| {
        let of_service = name.strip_prefix(service);
        of_service.is_some_and(|rest| rest == HOST || is_port(rest))
    })
}

/// Whether kubelet adds this to the name of a Service for one of its ports.
fn is_port(rest: &str) -> bool {
    if let Some(name) = rest.strip_prefix("_SERVICE_PORT") {
        return name.is_empty() || name.starts_with('_');
    }
    let Some(rest) = rest.strip_prefix("_PORT") else {
        return false;
    };
    let mut parts = rest.split('_').skip(1);
    let number = parts.next();
    let protocol = parts.next().unwrap_or_default();
    rest.is_empty()
        || number.is_some_and(|number| number.parse::<u16>().is_ok())
            && ["TCP", "UDP", "SCTP"].contains(&protocol)
}

/// The layer of all `--set key=value` flags; of two for one key the later one holds.
pub(super) fn flags(sets: &[(String, String)], problems: &mut Vec<Problem>) -> Node {
    let mut layer = Node::empty();
    for (key, text) in sets {
        let origin = Origin::Flag(key.clone());
        match flag(key, text, &origin) {
            Ok(node) => layer.lay(node),
            Err(message) => problems.push(Problem {
                origin,
                key: key.clone(),
                message,
            }),
        }
    }
    layer
}

fn flag(key: &str, text: &str, origin: &Origin) -> Result<Node, String> {
    let entry = catalogue::keys().find(|entry| entry.path == key);
    if let Some(entry) = entry {
        let node = node(entry.shape, text, origin)?;
        return Ok(Node::nested(entry.path.split('.'), node));
    }
    // `--set resource_attributes.team=core` sets one entry of a map.
    let of_map = catalogue::keys()
        .filter(|entry| entry.shape == Shape::Map)
        .find_map(|entry| {
            let name = key.strip_prefix(&entry.path)?.strip_prefix('.')?;
            Some(entry.path.split('.').chain([name]))
        });
    match of_map {
        Some(path) => Ok(Node::nested(
            path.collect::<Vec<_>>().into_iter(),
            Node::text(text, origin.clone()),
        )),
        None => Err(unknown_key(key)),
    }
}

/// What to say of a key that does not exist.
pub(super) fn unknown_key(key: &str) -> String {
    let section = catalogue::find(key).filter(|entry| entry.shape == Shape::Section);
    if section.is_some() {
        return format!(
            "is a section; set one of its keys: {}",
            catalogue::names_in(key).join(", ")
        );
    }
    if let Some(near) = catalogue::nearest(key, catalogue::keys().map(|entry| entry.path.as_str()))
    {
        return format!("no such key; did you mean `{near}`?");
    }
    let mut section = key;
    let mut allowed = Vec::new();
    while allowed.is_empty() {
        section = section.rsplit_once('.').map_or("", |(parent, _)| parent);
        allowed = catalogue::names_in(section);
    }
    match section {
        "" => format!("no such key; allowed are {}", allowed.join(", ")),
        _ => format!(
            "no such key; allowed in `{section}` are {}",
            allowed.join(", ")
        ),
    }
}

/// A text of a variable or flag as the node its key needs: maps as `k=v,k=v` or YAML, lists as YAML.
fn node(shape: Shape, text: &str, origin: &Origin) -> Result<Node, String> {
    match shape {
        Shape::Map if !text.trim_start().starts_with('{') => {
            pairs(text, origin, |text| Ok(text.to_owned()))
        }
        Shape::Map | Shape::List => match yaml::parse(text, |_, _| origin.clone()) {
            (_, faults) if !faults.is_empty() => Err(faults
                .into_iter()
                .map(|(_, fault)| fault)
                .collect::<Vec<_>>()
                .join("; ")),
            (node, _) => Ok(node.unwrap_or_else(|| Node::text("", origin.clone()))),
        },
        Shape::Text | Shape::Section => Ok(Node::text(text, origin.clone())),
    }
}

/// A map written `k=v,k=v`, each key and value decoded by `decode`.
pub(super) fn pairs(
    text: &str,
    origin: &Origin,
    decode: impl Fn(&str) -> Result<String, String>,
) -> Result<Node, String> {
    let pair = |pair: &str| {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| "an entry has no `=`; write `key=value,key=value`".to_owned())?;
        Ok((
            decode(key.trim())?,
            Node::text(decode(value.trim())?, origin.clone()),
        ))
    };
    let written = text.split(',').filter(|pair| !pair.trim().is_empty());
    let entries = written.map(pair).collect::<Result<_, String>>()?;
    Ok(Node {
        origin: origin.clone(),
        value: Value::Map(entries),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_variables_are_not_ours() {
        let services = ["WELLHEAD", "WELLHEAD_RESOLVER"];
        let all = services.map(|name| (format!("{name}_SERVICE_HOST"), "10.0.0.1".to_owned()));
        for name in [
            "WELLHEAD_SERVICE_HOST",
            "WELLHEAD_SERVICE_PORT",
            "WELLHEAD_SERVICE_PORT_METRICS",
            "WELLHEAD_PORT",
            "WELLHEAD_PORT_9464_TCP",
            "WELLHEAD_PORT_9464_TCP_PROTO",
            "WELLHEAD_RESOLVER_SERVICE_HOST",
            "WELLHEAD_RESOLVER_PORT_443_TCP_ADDR",
            "WELLHEAD_CONFIG",
            "WELLHEAD_TEST_VM",
        ] {
            assert!(is_foreign(name, &all), "{name}");
        }
        for name in [
            "WELLHEAD_PROMETHEUS_PORT",
            "WELLHEAD_PROMETHEUS_SERVICE_PORT",
            "WELLHEAD_RESOLVER_PORTS",
            "WELLHEAD_PORT_",
            "WELLHEAD_PORT_X_TCP",
            "WELLHEAD_PORT_1_ABC",
            "WELLHEAD_TESTS",
        ] {
            assert!(!is_foreign(name, &all), "{name}");
        }
        for entry in catalogue::keys() {
            assert!(!is_foreign(&entry.variable(), &all), "{}", entry.path);
        }
        assert!(!is_foreign("WELLHEAD_PORT", &[]));
    }
}
