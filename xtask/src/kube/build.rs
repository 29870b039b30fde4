//! The servers of Kubernetes, built from Debian's source package, with Debian's Go, and nothing from anywhere else.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::openapi;
use super::programs::{SUITE, directory, forget_lists, remove_if_there};
use crate::cmd::{Cmd, say};

/// What the source package contains, whatever it calls itself.
const VERSION: &str = "1.20.2";
/// The commit of that release and its time, as its own build writes them into the programs.
const COMMIT: &str = "faecb196815e248d3ecfb03c680a4507229c2a56";
const DATE: &str = "2021-01-13T13:20:00Z";

const PROGRAMS: [&str; 5] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// The newest Go that compiles it, in the release the source is from; and a library that replaces its vendored copy.
const PACKAGES: [&str; 3] = [
    "golang-1.19-go",
    "golang-1.19-src",
    "golang-github-modern-go-reflect2-dev",
];
const GO_ROOT: &str = "usr/lib/go-1.19";
const REFLECT: &str = "github.com/modern-go/reflect2";

/// The directory of the built programs. Building takes ten minutes on two processors, and 2 GB while it lasts.
pub(super) fn ensure() -> Result<PathBuf> {
    let directory = directory()?;
    let built = built(&directory);
    if built.is_dir() {
        return Ok(built);
    }
    say(format!(
        "building Kubernetes {VERSION} from Debian's source, once: this takes ten minutes or more"
    ));
    let start = Instant::now();
    // Kept after a failure: the next attempt goes on where this one ended.
    let work = Work {
        place: directory.join("building"),
    };
    work.prepare(&directory)?;
    work.build()?;
    let out = work.out();
    fs::rename(&out, &built).with_context(|| format!("cannot make {}", built.display()))?;
    remove_if_there(&work.place)?;
    forget_lists(&directory)?;
    say(format!(
        "built Kubernetes {VERSION} in {} s",
        start.elapsed().as_secs()
    ));
    Ok(built)
}

/// Whether the programs are here.
pub(super) fn is_built() -> bool {
    directory().is_ok_and(|directory| built(&directory).is_dir())
}

fn built(directory: &Path) -> PathBuf {
    directory.join(format!("kubernetes-{VERSION}"))
}

/// Where it is built.
struct Work {
    place: PathBuf,
}

impl Work {
    fn tree(&self) -> PathBuf {
        self.go_path().join("src/k8s.io/kubernetes")
    }

    fn go_path(&self) -> PathBuf {
        self.place.join("gopath")
    }

    fn packages(&self) -> PathBuf {
        self.place.join("packages")
    }

    fn out(&self) -> PathBuf {
        self.place.join("out")
    }

    /// Downloads and unpacks what is needed, and changes the source so that today's Go compiles it.
    fn prepare(&self, directory: &Path) -> Result<()> {
        let ready = self.place.join("prepared");
        if ready.is_file() {
            return Ok(());
        }
        remove_if_there(&self.place)?;
        SUITE.update(directory)?;
        let downloads = self.place.join("downloads");
        SUITE.source(directory, "kubernetes", &downloads)?;
        SUITE.unpack(
            directory,
            PACKAGES,
            &self.place.join("debs"),
            &self.packages(),
        )?;
        let tree = self.tree();
        fs::create_dir_all(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
        Cmd::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(original(&downloads)?)
            .arg("--directory")
            .arg(&tree)
            .arg("--strip-components=1")
            .run()?;
        self.replace_reflection()?;
        fs::write(&ready, "").with_context(|| format!("cannot write {}", ready.display()))
    }

    /// The vendored reflect2 reads maps as Go before 1.18 laid them out; compiled by a later one the servers crash on the
    /// first object that has certain maps in it.
    fn replace_reflection(&self) -> Result<()> {
        let from = self.packages().join("usr/share/gocode/src").join(REFLECT);
        let to = self.tree().join("vendor").join(REFLECT);
        for file in sources(&to)? {
            remove_if_there(&file)?;
        }
        for file in sources(&from)? {
            let name = file.file_name().context("a file has a name")?;
            if !name.to_string_lossy().ends_with("_test.go") {
                fs::copy(&file, to.join(name))
                    .with_context(|| format!("cannot copy {}", file.display()))?;
            }
        }
        Ok(())
    }

    fn build(&self) -> Result<()> {
        let tree = self.tree();
        if !openapi::is_there(&tree) {
            let generator = self.place.join("openapi-gen");
            self.go(&["build", "-o"])
                .arg(&generator)
                .arg(openapi::GENERATOR)
                .run()?;
            openapi::generate(
                self.environment(Cmd::new(&generator)),
                &tree,
                &self.go_path(),
            )?;
        }
        let mut into = OsString::from(self.out());
        // The slash makes it a directory.
        into.push("/");
        fs::create_dir_all(self.out())?;
        self.go(&["build", "-ldflags", &linker_flags(), "-o"])
            .arg(into)
            .args(PROGRAMS.map(|name| format!("k8s.io/kubernetes/cmd/{name}")))
            .run()?;
        for name in PROGRAMS {
            let file = self.out().join(name);
            ensure!(file.is_file(), "Go made no {}", file.display());
        }
        Ok(())
    }

    fn go(&self, args: &[&str]) -> Cmd {
        self.environment(Cmd::new(self.packages().join(GO_ROOT).join("bin/go")).args(args))
    }

    /// The tree as part of a GOPATH: what it says of modules is refused by this Go.
    fn environment(&self, cmd: Cmd) -> Cmd {
        cmd.dir(&self.tree())
            .env("GOROOT", self.packages().join(GO_ROOT))
            .env("GOPATH", self.go_path())
            .env("GOCACHE", self.place.join("cache"))
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .env("GOPROXY", "off")
            .env("CGO_ENABLED", "0")
    }
}

/// The upstream source among what apt downloaded.
fn original(downloads: &Path) -> Result<PathBuf> {
    let found = fs::read_dir(downloads)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(".orig.tar."))
        .context("apt-get downloaded no source")?;
    ensure!(
        found.to_string_lossy().contains(VERSION),
        "{} is not Kubernetes {VERSION}",
        found.display()
    );
    Ok(found)
}

/// Go and assembler files of one directory.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let is_source = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "go" || extension == "s")
    };
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_source)
        .collect())
}

/// Without debug information, and with the version that the programs tell: kubelet and clients look at it.
fn linker_flags() -> String {
    let (major, rest) = VERSION.split_once('.').unwrap_or((VERSION, ""));
    let minor = rest.split('.').next().unwrap_or_default();
    let full = format!("v{VERSION}");
    let values = [
        ("gitVersion", full.as_str()),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitCommit", COMMIT),
        ("gitTreeState", "clean"),
        ("buildDate", DATE),
    ];
    let packages = [
        "k8s.io/kubernetes/vendor/k8s.io/component-base/version",
        "k8s.io/kubernetes/vendor/k8s.io/client-go/pkg/version",
    ];
    let flags = packages
        .iter()
        .flat_map(|package| values.map(|(name, value)| format!("-X {package}.{name}={value}")));
    let flags: Vec<String> = ["-s", "-w"]
        .map(str::to_owned)
        .into_iter()
        .chain(flags)
        .collect();
    flags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_tell_their_version() {
        let flags = linker_flags();
        for part in [
            "component-base/version.gitVersion=v1.20.2",
            "client-go/pkg/version.gitMajor=1",
            "component-base/version.gitMinor=20",
        ] {
            assert!(flags.contains(part), "{flags}");
        }
    }
}
