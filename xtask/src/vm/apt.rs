//! Kernels of other Debian releases than this machine's: from its own mirror, through lists of packages apart from the
//! machine's, so that its apt is not changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::{Cmd, which};

/// Depends on the newest kernel of its release.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// Modules that guests have, each after those it needs: the kernel's own count of sockets (`sock_diag`).
const MODULES: [&str; 2] = ["net/ipv4/inet_diag.ko", "net/ipv4/tcp_diag.ko"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A Debian release.
#[derive(Debug)]
pub(crate) struct Suite {
    name: &'static str,
    has_security: bool,
}

/// A kernel that can be downloaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What `uname -r` will say.
    pub(crate) release: String,
    /// The packages that hold the image and the modules.
    packages: Vec<String>,
    /// The version of them all.
    pub(crate) version: String,
}

impl Suite {
    pub(crate) const fn stable(name: &'static str) -> Self {
        Self {
            name,
            has_security: true,
        }
    }

    pub(crate) const fn unstable(name: &'static str) -> Self {
        Self {
            name,
            has_security: false,
        }
    }

    /// Asks the mirror. What apt keeps of it lies below `directory`.
    pub(crate) fn newest_kernel(&self, directory: &Path) -> Result<Found> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the kernels are for x86-64 machines"
        );
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            ensure!(
                which(tool).is_some(),
                "{tool} is missing: kernels come from a Debian mirror"
            );
        }
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
            })?;
        let shown = |package: &str| {
            self.apt("apt-cache", directory)
                .args(["show", "--no-all-versions", package])
                .ask()
                .with_context(|| format!("Debian's {} has no package {package}", self.name))
        };
        let image = depends_on(&shown(META_PACKAGE)?, "linux-image-")?;
        let release = image.trim_start_matches("linux-image-").to_owned();
        let description = shown(&image)?;
        let version = field(&description, "Version").context("a package without a version")?;
        // Later ones have the image itself and the modules in packages of their own.
        let parts =
            ["linux-binary-", "linux-modules-"].map(|prefix| depends_on(&description, prefix));
        let packages = parts.into_iter().flatten().chain([image]).collect();
        Ok(Found {
            release,
            packages,
            version: version.to_owned(),
        })
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
        let Self { name, has_security } = self;
        let main = format!("deb{signed} {} {name} main\n", mirror.main);
        if *has_security {
            format!(
                "{main}deb{signed} {} {name}-security main\n",
                mirror.security
            )
        } else {
            main
        }
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

/// Downloads a kernel and leaves its image, some of its modules, and nothing else in `place`.
pub(crate) fn unpack_kernel(
    found: &Found,
    suite: &Suite,
    directory: &Path,
    place: &Path,
) -> Result<()> {
    let work = directory.join(format!("unpacking-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let tree = work.join("tree");
    let done = unpack(&work, &tree, found, suite, directory)
        .and_then(|()| keep(&tree, &found.release, place));
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    done
}

fn unpack(work: &Path, tree: &Path, found: &Found, suite: &Suite, directory: &Path) -> Result<()> {
    let versioned = |package: &String| format!("{package}={}", found.version);
    suite
        .apt("apt-get", directory)
        .dir(work)
        .args(["--quiet", "download"])
        .args(found.packages.iter().map(versioned))
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
                .run()?;
        }
    }
    Ok(())
}

/// Keeps what guests use.
fn keep(tree: &Path, release: &str, place: &Path) -> Result<()> {
    let first = |candidates: [PathBuf; 2]| {
        let found = candidates.iter().find(|file| file.exists()).cloned();
        found.with_context(|| format!("no {} in the packages", candidates[0].display()))
    };
    let modules = first([
        tree.join("lib/modules").join(release),
        tree.join("usr/lib/modules").join(release),
    ])?;
    let image = first([
        tree.join("boot").join(format!("vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ])?;
    let kept = place.join("modules");
    fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
    for name in MODULES {
        let file = kept.join(Path::new(name).file_name().context("a module has a name")?);
        let plain = modules.join("kernel").join(name);
        let compressed = plain.with_extension("ko.xz");
        if !plain.is_file() {
            Cmd::new("xz").arg("--decompress").arg(&compressed).run()?;
        }
        fs::rename(&plain, &file).with_context(|| format!("cannot keep {}", file.display()))?;
    }
    // Renamed last: where there is an image, there is all of it.
    fs::rename(image, place.join("vmlinuz")).context("cannot keep the image")
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

/// The first package a package depends on whose name begins so.
fn depends_on(description: &str, prefix: &str) -> Result<String> {
    field(description, "Depends")
        .into_iter()
        .flat_map(|list| list.split([',', '|']))
        .filter_map(|one| one.split_whitespace().next())
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("the package depends on no {prefix}…"))
}

/// A field of a package's description.
fn field<'a>(description: &'a str, name: &str) -> Option<&'a str> {
    description
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
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
    fn follows_dependencies() {
        let text = "Package: linux-image-7.2.13\nVersion: 7.2.13-1\n\
                    Depends: dracut | initramfs-tools (>= 0.120), linux-binary-7.2.13 (= 7.2.13-1)\n";
        assert_eq!(
            depends_on(text, "linux-binary-").unwrap(),
            "linux-binary-7.2.13"
        );
        assert!(depends_on(text, "linux-image-").is_err());
        assert_eq!(field(text, "Version"), Some("7.2.13-1"));
    }
}
