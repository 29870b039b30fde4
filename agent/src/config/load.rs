//! From the layers to a checked [`Config`].

use std::{collections::BTreeMap, ffi::OsString, path::Path, sync::Arc};

use super::{
    catalogue::{self, Shape},
    environment,
    error::{ConfigError, Origin, Problem},
    file,
    keys::Config,
    node::{self, Node, Step, Value},
    otel, validate, yaml,
};

/// Problems beyond this many are left out; so many come from a file that is none of ours.
const MOST_PROBLEMS: usize = 100;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where each key that was set comes from, by its dotted name; for maps, each of their entries.
    /// Keys left at their default are not in it.
    pub sources: BTreeMap<String, Origin>,
    /// OpenTelemetry variables that could not be read and were ignored, as that specification asks, and settings
    /// without effect; to be logged.
    pub warnings: Vec<Problem>,
}

impl Loaded {
    /// Where a key was set, or the first one of a section that was.
    pub fn origin(&self, key: &str) -> Origin {
        let mut set = self.sources.range(key.to_owned()..);
        let first = set.next().filter(|(path, _)| path.starts_with(key));
        first.map_or(Origin::Default, |(_, origin)| origin.clone())
    }
}

/// Reads and checks all layers.
///
/// `file` is the one named by `--config`; without it `WELLHEAD_CONFIG` is asked, and no file at all is fine.
/// `environment` is usually [`std::env::vars_os`]; `sets` are the `--set key=value` flags in order.
///
/// # Errors
/// All problems found, whatever their layer.
pub fn load<K: Into<OsString>, V: Into<OsString>>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (K, V)>,
    sets: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let environment = texts(environment, &mut problems);
    let named = get(&environment, "WELLHEAD_CONFIG").map(Path::new);
    let file = file.or(named).map(|path| (path, file::read(path)));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let input = Input {
        file,
        environment: &environment,
        sets,
        host,
    };
    input.load(problems)
}

/// All that a configuration follows from.
pub(super) struct Input<'a> {
    /// The file's name and its content, or why it could not be read.
    pub(super) file: Option<(&'a Path, Result<Vec<u8>, String>)>,
    pub(super) environment: &'a [(String, String)],
    pub(super) sets: &'a [(String, String)],
    /// The host's name.
    pub(super) host: String,
}

impl Input<'_> {
    /// The configuration, or all that is wrong with it: `problems` and what is found here.
    pub(super) fn load(self, mut problems: Vec<Problem>) -> Result<Loaded, ConfigError> {
        let mut warnings = Vec::new();
        let mut tree = self.node_name();
        if let Some((path, content)) = self.file {
            tree.lay(file_layer(path, content, &mut problems));
        }
        tree.lay(otel::layer(
            self.environment,
            &tree,
            &mut warnings,
            &mut problems,
        ));
        tree.lay(environment::variables(self.environment, &mut problems));
        tree.lay(environment::flags(self.sets, &mut problems));

        remove_unknown("", &mut tree, &mut problems);
        let mut sources = BTreeMap::new();
        collect_sources(&tree, &mut sources);
        let whole = tree.clone();
        let config = typed(tree, &mut problems);
        validate::check(&config, &whole, &mut problems);
        if problems.is_empty() {
            validate::advise(&config, &whole, &mut warnings);
            return Ok(Loaded {
                config,
                sources,
                warnings,
            });
        }
        // What was ignored may well explain what is wrong.
        problems.extend(warnings);
        problems.truncate(MOST_PROBLEMS);
        problems.sort_by_key(|problem| problem.origin.place());
        Err(ConfigError { problems })
    }

    /// The lowest layer: the node's name.
    fn node_name(&self) -> Node {
        let node = match get(self.environment, "NODE_NAME") {
            Some(name) => Node::text(name, Origin::Variable("NODE_NAME".to_owned())),
            None => Node::text(self.host.as_str(), Origin::Host),
        };
        let mut tree = Node::empty();
        tree.lay(Node::nested(["node_name"].into_iter(), node));
        tree
    }
}

/// A variable's value; an empty one counts as unset.
fn get<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = environment.iter().find(|(known, _)| known == name);
    found
        .map(|(_, text)| text.as_str())
        .filter(|text| !text.is_empty())
}

/// The variables that may be ours, as text.
fn texts<K: Into<OsString>, V: Into<OsString>>(
    environment: impl IntoIterator<Item = (K, V)>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for (name, text) in environment {
        let Ok(name) = name.into().into_string() else {
            continue;
        };
        let ours = ["WELLHEAD_", "OTEL_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || name == "NODE_NAME";
        if !ours {
            continue;
        }
        match text.into().into_string() {
            Ok(text) => texts.push((name, text)),
            Err(_) => problems.push(Problem {
                origin: Origin::Variable(name),
                key: String::new(),
                message: "is not UTF-8".to_owned(),
            }),
        }
    }
    texts
}

fn file_layer(path: &Path, content: Result<Vec<u8>, String>, problems: &mut Vec<Problem>) -> Node {
    let path: Arc<Path> = path.into();
    let origin = |line, column| Origin::File {
        path: Arc::clone(&path),
        line,
        column,
    };
    let mut fault = |(origin, message)| {
        problems.push(Problem {
            origin,
            key: String::new(),
            message,
        });
    };
    let text = content.and_then(|content| {
        String::from_utf8(content).map_err(|error| {
            format!(
                "is not UTF-8 from byte {}",
                error.utf8_error().valid_up_to()
            )
        })
    });
    let (root, faults) = match text {
        Ok(text) => yaml::parse(&text, origin),
        Err(message) => (None, vec![(origin(0, 0), message)]),
    };
    faults.into_iter().for_each(&mut fault);
    match root {
        Some(
            root @ Node {
                value: Value::Map(_),
                ..
            },
        ) => root,
        Some(root) => {
            fault((
                root.origin,
                "must hold keys with values, such as `memory_budget: 128MiB`".to_owned(),
            ));
            Node::empty()
        }
        None => Node::empty(),
    }
}

/// Takes out keys that do not exist, and sections, maps and lists that hold something else.
fn remove_unknown(section: &str, node: &mut Node, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    entries.retain(|name, node| {
        let key = if section.is_empty() {
            name.clone()
        } else {
            format!("{section}.{name}")
        };
        let entry = catalogue::find(&key).filter(|_| !name.contains('.'));
        match entry.map(|entry| entry.shape) {
            Some(Shape::Section) if matches!(node.value, Value::Map(_)) => {
                remove_unknown(&key, node, problems);
                return true;
            }
            Some(Shape::Text) => return true,
            Some(Shape::Map) if matches!(node.value, Value::Map(_)) => return true,
            Some(Shape::List) if matches!(node.value, Value::List(_)) => return true,
            Some(Shape::Section | Shape::Map | Shape::List) | None => {}
        }
        // Further problems would be cut off anyway, and looking for the nearest key takes time.
        if problems.len() < MOST_PROBLEMS {
            let message = match entry.map(|entry| entry.shape) {
                Some(Shape::Map) => "must be a map of names and texts".to_owned(),
                Some(Shape::List) => "must be a list".to_owned(),
                None if name.contains('.') => {
                    "no such key; write the keys of a section below its name".to_owned()
                }
                _ => environment::unknown_key(&key),
            };
            problems.push(Problem {
                origin: node.origin.clone(),
                key,
                message,
            });
        }
        false
    });
}

fn collect_sources(tree: &Node, sources: &mut BTreeMap<String, Origin>) {
    for entry in catalogue::keys() {
        let Some(node) = tree.get(&node::Path::of(&entry.path)) else {
            continue;
        };
        match &node.value {
            Value::Map(entries) => {
                let sources_of = |(name, node): (&String, &Node)| {
                    (format!("{}.{name}", entry.path), node.origin.clone())
                };
                sources.extend(entries.iter().map(sources_of));
            }
            Value::Text(_) | Value::List(_) => {
                sources.insert(entry.path.clone(), node.origin.clone());
            }
        }
    }
}

/// The typed configuration. What serde refuses is taken out of the tree and reported until nothing is refused.
fn typed(mut tree: Node, problems: &mut Vec<Problem>) -> Config {
    let mut refused = Vec::new();
    while problems.len() < MOST_PROBLEMS {
        let error = match serde_path_to_error::deserialize::<_, Config>(tree.to_json()) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let steps = error.path().iter().map_while(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => {
                None
            }
        });
        let path = tree.as_written(&node::Path(steps.collect()));
        let Some((path, node)) = tree.remove(&path) else {
            problems.push(Problem {
                origin: Origin::Default,
                key: path.to_string(),
                message: plain(&error.inner().to_string()),
            });
            break;
        };
        // A list's item of which a part was taken out before may only lack that part now.
        if !refused
            .iter()
            .any(|part: &node::Path| part.0.starts_with(&path.0))
        {
            problems.push(Problem {
                origin: node.origin,
                key: path.to_string(),
                message: plain(&error.inner().to_string()),
            });
        }
        refused.push(path);
    }
    Config::default()
}

/// Serde's complaint about a choice, in words that do not need Rust to be understood.
fn plain(message: &str) -> String {
    let choice = message.strip_prefix("unknown variant ");
    match choice.and_then(|rest| rest.split_once(", expected ")) {
        Some((value, allowed)) => format!("{value} will not do; write {allowed}"),
        None => message.to_owned(),
    }
}
