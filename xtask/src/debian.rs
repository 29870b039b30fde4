//! Packages of any Debian release, from this machine's own mirror, through lists of packages apart from the machine's: its
//! apt is not changed, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::{Cmd, which};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A Debian release.
#[derive(Debug)]
pub(crate) struct Suite {
    name: &'static str,
    has_security: bool,
    with_sources: bool,
}

impl Suite {
    pub(crate) const fn stable(name: &'static str) -> Self {
        Self {
            name,
            has_security: true,
            with_sources: false,
        }
    }

    pub(crate) const fn unstable(name: &'static str) -> Self {
        Self {
            name,
            has_security: false,
            with_sources: false,
        }
    }

    /// The same with source packages.
    pub(crate) const fn with_sources(self) -> Self {
        Self {
            with_sources: true,
            ..self
        }
    }

    /// What has to be here before anything can be asked of a mirror.
    fn tools() -> Result<()> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            ensure!(
                which(tool).is_some(),
                "{tool} is missing: packages come from a Debian mirror"
            );
        }
        Ok(())
    }

    /// Asks the mirror what there is. What apt keeps of it lies below `directory`.
    pub(crate) fn update(&self, directory: &Path) -> Result<()> {
        Self::tools()?;
        let place = self.place(directory);
        for inner in ["lists/partial", "cache/archives/partial"] {
            let inner = place.join(inner);
            fs::create_dir_all(&inner)
                .with_context(|| format!("cannot create {}", inner.display()))?;
        }
        fs::write(
            place.join("sources.list"),
            self.sources(&Mirror::of_this_machine()?),
        )?;
        self.apt("apt-get", directory)
            .args(["--quiet", "update", "--error-on=any"])
            .run()
            .with_context(|| {
                format!(
                    "this machine's mirror does not offer Debian's {}",
                    self.name
                )
            })
    }

    /// The description of a package, after [`Self::update`].
    pub(crate) fn shown(&self, directory: &Path, package: &str) -> Result<String> {
        self.apt("apt-cache", directory)
            .args(["show", "--no-all-versions", package])
            .ask()
            .with_context(|| format!("Debian's {} has no package {package}", self.name))
    }

    /// These packages and all that they depend on, after [`Self::update`]. Virtual ones are left out.
    pub(crate) fn needed_by(&self, directory: &Path, packages: &[&str]) -> Result<Vec<String>> {
        let listed = self
            .apt("apt-cache", directory)
            .args(["depends", "--recurse", "--important", "--no-pre-depends"])
            .args(packages)
            .ask()
            .with_context(|| format!("Debian's {} has not all of {packages:?}", self.name))?;
        // A package begins a line, what it depends on is indented.
        let names = listed
            .lines()
            .filter(|line| !line.starts_with([' ', '<', '|']));
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads packages, each a name or `name=version`, and unpacks them all into `tree`. `work` is for the
    /// packages themselves.
    pub(crate) fn unpack<S: AsRef<str>>(
        &self,
        directory: &Path,
        packages: impl IntoIterator<Item = S>,
        work: &Path,
        tree: &Path,
    ) -> Result<()> {
        fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
        let packages = packages.into_iter().map(|one| one.as_ref().to_owned());
        self.apt("apt-get", directory)
            .dir(work)
            .args(["--quiet", "download"])
            .args(packages)
            .run()?;
        for entry in fs::read_dir(work)? {
            let package = entry?.path();
            if package
                .extension()
                .is_some_and(|extension| extension == "deb")
            {
                Cmd::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&package)
                    .arg(tree)
                    .run_quietly()?;
            }
        }
        Ok(())
    }

    /// Downloads the source of a package into `place`.
    pub(crate) fn source(&self, directory: &Path, package: &str, place: &Path) -> Result<()> {
        ensure!(self.with_sources, "asked for no sources");
        fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
        self.apt("apt-get", directory)
            .dir(place)
            .args(["--quiet", "source", "--download-only", package])
            .run()
    }

    fn place(&self, directory: &Path) -> PathBuf {
        directory.join("apt").join(self.name)
    }

    fn sources(&self, mirror: &Mirror) -> String {
        let signed = if Path::new(KEYRING).is_file() {
            format!(" [signed-by={KEYRING}]")
        } else {
            String::new()
        };
        let name = self.name;
        let mut places = vec![format!("{signed} {} {name} main\n", mirror.main)];
        if self.has_security {
            places.push(format!(
                "{signed} {} {name}-security main\n",
                mirror.security
            ));
        }
        let kinds: &[&str] = if self.with_sources {
            &["deb", "deb-src"]
        } else {
            &["deb"]
        };
        kinds
            .iter()
            .flat_map(|kind| places.iter().map(move |place| format!("{kind}{place}")))
            .collect()
    }

    fn apt(&self, tool: &str, directory: &Path) -> Cmd {
        let place = self.place(directory);
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        Cmd::new(tool)
            .args(["-o", &option("Dir::Etc::sourcelist", &place.join("sources.list"))])
            .args(["-o", "Dir::Etc::sourceparts=/dev/null"])
            .args(["-o", &option("Dir::State::Lists", &place.join("lists"))])
            .args(["-o", "Dir::State::status=/dev/null"])
            .args(["-o", &option("Dir::Cache", &place.join("cache"))])
            .args(["-o", "APT::Sandbox::User=root"])
            // Of a package's data for software centres nothing is needed.
            .args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"])
            .args(["-o", "Acquire::Languages=none"])
    }
}

/// Where this machine's own packages come from.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    main: String,
    security: String,
}

impl Mirror {
    fn of_this_machine() -> Result<Self> {
        let targets = Cmd::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
            .arg("Created-By: Packages")
            .ask()
            .context("apt-get does not tell its sources")?;
        let os = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let codename = os
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .unwrap_or("sid");
        Self::of(&targets, codename)
    }

    /// Which of a machine's sources hold its own release.
    fn of(targets: &str, codename: &str) -> Result<Self> {
        let of_release = |release: &str| {
            targets
                .lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(_, known)| *known == release)
                .map(|(uri, _)| uri.to_owned())
        };
        let main = of_release(codename);
        let security = of_release(&format!("{codename}-security"));
        match (main, security) {
            (Some(main), Some(security)) => Ok(Self { main, security }),
            _ => bail!(
                "this machine's apt names no mirror of Debian {codename} and of its security updates"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "http://one.example/debian/ bookworm\n\
                           http://one.example/debian/ bookworm-updates\n\
                           http://two.example/debian-security/ bookworm-security\n\
                           http://three.example/other/ stable";

    #[test]
    fn the_mirror_is_the_one_of_the_own_release() {
        let mirror = Mirror::of(TARGETS, "bookworm").unwrap();
        assert_eq!(mirror.main, "http://one.example/debian/");
        assert_eq!(mirror.security, "http://two.example/debian-security/");
        assert!(Mirror::of(TARGETS, "jammy").is_err());
    }

    #[test]
    fn only_stable_releases_have_security_updates() {
        let mirror = Mirror::of(TARGETS, "bookworm").unwrap();
        assert_eq!(
            Suite::stable("bullseye").sources(&mirror).lines().count(),
            2
        );
        let sid = Suite::unstable("sid").sources(&mirror);
        assert!(
            sid.ends_with(" http://one.example/debian/ sid main\n"),
            "{sid}"
        );
        assert_eq!(sid.lines().count(), 1);
    }

    #[test]
    fn sources_only_where_asked_for() {
        let mirror = Mirror::of(TARGETS, "bookworm").unwrap();
        let lines = |suite: &Suite| {
            let text = suite.sources(&mirror);
            text.lines()
                .filter(|line| line.starts_with("deb-src"))
                .count()
        };
        assert_eq!(lines(&Suite::stable("bookworm")), 0);
        assert_eq!(lines(&Suite::stable("bookworm").with_sources()), 2);
    }
}
