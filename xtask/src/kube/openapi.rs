//! The one generated file that the source package of Kubernetes lacks: what the API server tells of its types.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cmd::Cmd;

/// The package of the generator, which is in the tree.
pub(super) const GENERATOR: &str = "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen";

const PACKAGE: &str = "pkg/generated/openapi";
const FILE: &str = "zz_generated.openapi";
/// What a package has in a comment if its types are to be told of.
const MARK: &str = "+k8s:openapi-gen=";
/// Where marked packages are.
const PLACES: [&str; 4] = ["staging/src/k8s.io", "pkg", "cmd", "plugin"];
/// Marked as well, but no part of a server.
const NOT_SERVED: [&str; 5] = [
    "/testdata/",
    "/test/",
    "/examples/",
    "staging/src/k8s.io/sample-",
    "staging/src/k8s.io/code-generator/",
];

/// Whether it has been generated.
pub(super) fn is_there(tree: &Path) -> bool {
    tree.join(PACKAGE).join(format!("{FILE}.go")).is_file()
}

/// Generates it by `generator`, a command without arguments.
pub(super) fn generate(generator: Cmd, tree: &Path, go_path: &Path) -> Result<()> {
    let mut packages = BTreeSet::new();
    for place in PLACES {
        find(&tree.join(place), tree, &mut packages)?;
    }
    let inputs: Vec<String> = packages
        .iter()
        .map(|package| format!("k8s.io/kubernetes/{package}"))
        .collect();
    generator
        .args(["--logtostderr", "--input-dirs", &inputs.join(",")])
        .args(["--output-file-base", FILE])
        .arg("--output-package")
        .arg(format!("k8s.io/kubernetes/{PACKAGE}"))
        .arg("--output-base")
        .arg(go_path.join("src"))
        .arg("--go-header-file")
        .arg(tree.join("vendor/k8s.io/code-generator/hack/boilerplate.go.txt"))
        .arg("--report-filename")
        .arg(go_path.join("openapi-violations"))
        .run_quietly()
}

/// Marked packages in and below a directory, as the generator wants them named.
fn find(directory: &Path, tree: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find(&path, tree, found)?;
            continue;
        }
        let name = relative(&path, tree)?;
        if may_be_served(&name) && contains_mark(&path)? {
            found.extend(package_of(&name));
        }
    }
    Ok(())
}

fn relative(path: &Path, tree: &Path) -> Result<String> {
    let inner: PathBuf = path.strip_prefix(tree)?.to_owned();
    let inner = inner.into_os_string().into_string();
    inner.ok().context("a file of the source is not UTF-8")
}

fn may_be_served(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("go"))
        && !name.ends_with("_test.go")
        && !name.contains("zz_generated")
        && !NOT_SERVED.iter().any(|place| name.contains(place))
}

fn contains_mark(file: &Path) -> Result<bool> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&text).contains(MARK))
}

/// Staged repositories are compiled as vendored ones.
fn package_of(name: &str) -> Option<String> {
    let (directory, _) = name.rsplit_once('/')?;
    Some(match directory.strip_prefix("staging/src/") {
        Some(staged) => format!("vendor/{staged}"),
        None => directory.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_packages_are_vendored_ones() {
        let check = |name, expected: &str| {
            assert_eq!(package_of(name).as_deref(), Some(expected));
        };
        check(
            "staging/src/k8s.io/api/core/v1/doc.go",
            "vendor/k8s.io/api/core/v1",
        );
        check("pkg/kubelet/config/doc.go", "pkg/kubelet/config");
    }

    #[test]
    fn tests_and_examples_are_not_served() {
        let check = |name, expected| assert_eq!(may_be_served(name), expected, "{name}");
        check("staging/src/k8s.io/api/core/v1/doc.go", true);
        check("staging/src/k8s.io/api/core/v1/doc_test.go", false);
        check("staging/src/k8s.io/sample-apiserver/pkg/doc.go", false);
        check(
            "staging/src/k8s.io/apiextensions-apiserver/examples/client-go/doc.go",
            false,
        );
        check("pkg/zz_generated.deepcopy.go", false);
        check("pkg/readme.md", false);
    }
}
