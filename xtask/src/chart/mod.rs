//! The Helm chart: its tests, and what is generated from it.

mod derived;
mod helm;
mod objects;
mod refused;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::cmd::{say, write_if_changed};
use crate::paths;
use helm::Helm;

const CHART: &str = "deploy/chart/wellhead";
const EXAMPLES: &str = "deploy/examples";
const MANIFESTS: &str = "deploy/manifests/wellhead.yaml";
const PERMISSIONS: &str = "docs/kubernetes.md";

/// API servers that objects are rendered for: the oldest the chart allows, and one that has AppArmor as a field of pods.
const SERVERS: [&str; 2] = ["1.20.2", NEWEST];
/// What the manifests are for.
const NEWEST: &str = "1.31.0";

/// Checks that Helm accepts the chart with each set of example values, that it refuses bad values, and that what it makes is
/// what the documentation promises.
pub(crate) fn test() -> Result<()> {
    let helm = Helm::find()?;
    let chart = paths::root()?.join(CHART);
    helm.lint(&chart, &[])?;
    let mut checked = 0;
    for server in SERVERS {
        objects::check(&helm.template(&chart, server, &[])?)?;
        for example in examples()? {
            let file = example.to_str().context("a path is not UTF-8")?;
            helm.lint(&chart, &["--values", file])?;
            let objects = helm.template(&chart, server, &["--values", file])?;
            objects::check(&objects).with_context(|| format!("with {file}"))?;
            checked += 1;
        }
    }
    ensure!(checked > 0, "there are no examples in {EXAMPLES}");
    objects::check_switches(&helm, &chart)?;
    derived::check(&helm, &chart)?;
    let documented = fs::read_to_string(paths::root()?.join(PERMISSIONS))
        .with_context(|| format!("cannot read {PERMISSIONS}"))?;
    objects::check_capabilities(&helm.template(&chart, NEWEST, &[])?, &documented)?;
    let refused = refused::check(&helm, &chart)?;
    say(format!(
        "chart: {checked} renderings of examples, {refused} bad values refused"
    ));
    Ok(())
}

/// Writes what is generated from the chart, or with `check` fails if something is out of date.
pub(crate) fn document(check: bool) -> Result<()> {
    let root = paths::root()?;
    let chart = root.join(CHART);
    let read = |name: &str| {
        fs::read_to_string(chart.join(name)).with_context(|| format!("cannot read {CHART}/{name}"))
    };
    let schema: Value =
        serde_json::from_str(&read("values.schema.json")?).context("the schema is not JSON")?;
    let values: Value =
        serde_saphyr::from_str(&read("values.yaml")?).context("values.yaml is not YAML")?;
    let readme = table::put_into(&read("README.md")?, &table::of(&schema, &values)?)?;
    let manifests = manifests(&Helm::find()?.text(&chart, NEWEST)?);
    for (name, text) in [
        (format!("{CHART}/README.md"), readme),
        (MANIFESTS.to_owned(), manifests),
    ] {
        let path = root.join(&name);
        if !check {
            write_if_changed(&path, text.as_bytes())?;
        } else if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            bail!("{name} is out of date: run `cargo xtask docs`");
        }
    }
    Ok(())
}

fn examples() -> Result<Vec<PathBuf>> {
    let dir = paths::root()?.join(EXAMPLES);
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".values.yaml"))
        .collect();
    files.sort();
    Ok(files)
}

const HEAD: &str = "# Wellhead without Helm, with the chart's default values. Generated: `cargo xtask docs`.\n\
    #\n\
    #   kubectl apply --filename deploy/manifests/wellhead.yaml\n\
    #\n\
    # The image is the one that `cargo xtask dist` makes: put a name of your own registry where it says so.\n\
    apiVersion: v1\n\
    kind: Namespace\n\
    metadata:\n  \
      name: wellhead\n  \
      labels:\n    \
        # hostPID, hostPath volumes and added capabilities are beyond the baseline policy.\n    \
        pod-security.kubernetes.io/enforce: privileged\n";

/// The chart's objects for those who have no Helm, with the namespace they need.
fn manifests(rendered: &str) -> String {
    // Nobody's release, and Helm does not manage it.
    let helms = |line: &&str| {
        !line.contains("helm.sh/chart:") && !line.contains("app.kubernetes.io/managed-by:")
    };
    let lines = rendered.lines().filter(helms).map(str::trim_end);
    let text: Vec<&str> = lines.collect();
    format!("{HEAD}{}\n", text.join("\n").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_nobodys_release() {
        let rendered = "---\n# Source: a\nkind: A\nmetadata:\n  labels:\n    helm.sh/chart: wellhead-1\n    a: b\n    \
            app.kubernetes.io/managed-by: Helm\n\n\n";
        let text = manifests(rendered);
        assert_eq!(
            text.strip_prefix(HEAD),
            Some("---\n# Source: a\nkind: A\nmetadata:\n  labels:\n    a: b\n")
        );
    }
}
