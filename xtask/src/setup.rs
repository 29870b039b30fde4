//! `cargo xtask setup`: what the machine needs for building, with `--tests` for the kernel tests, with `--vm` for virtual
//! machines, with `--kube` for a Kubernetes, with `--collector` for an OpenTelemetry Collector.
//! It looks before it acts, so it is quick where nothing is missing.

use anyhow::{Result, bail};

use crate::cmd::{Cmd, is_root, say, which};
use crate::test_tools::{self, TestTools};
use crate::toolchain::{self, Toolchain};
use crate::{dist, kube, receivers};

/// One thing the machine must have.
struct Need {
    what: &'static str,
    present: fn() -> bool,
    debian: &'static [&'static str],
    /// How to install it where apt-get is not there or cannot be used.
    by_hand: &'static str,
}

const BUILD: [Need; 4] = [
    Need {
        what: "a C compiler and make (for libbpf)",
        present: || {
            ["cc", "c++", "make"]
                .iter()
                .all(|tool| which(tool).is_some())
        },
        debian: &["build-essential"],
        by_hand: "dnf install gcc gcc-c++ make",
    },
    Need {
        what: "pkg-config, and the headers of libelf and zlib",
        present: || {
            Cmd::new("pkg-config")
                .args(["--exists", "libelf", "zlib"])
                .succeeds()
        },
        debian: &["pkg-config", "libelf-dev", "zlib1g-dev"],
        by_hand: "dnf install pkgconf elfutils-libelf-devel zlib-devel",
    },
    Need {
        what: "a compiler for eBPF",
        present: || Toolchain::find().is_some(),
        debian: &toolchain::DEBIAN_PACKAGES,
        by_hand: toolchain::BY_HAND,
    },
    Need {
        what: "git",
        present: || which("git").is_some(),
        debian: &["git"],
        by_hand: "dnf install git",
    },
];

const PYTHON: Need = Need {
    what: "Python with venv and pip",
    present: || {
        Cmd::new("python3")
            .args(["-c", "import venv, ensurepip"])
            .succeeds()
    },
    debian: &["python3-venv"],
    by_hand: "dnf install python3",
};

const IP: Need = Need {
    what: "ip, ss and tc, for tests in network namespaces",
    present: || ["ip", "ss", "tc"].iter().all(|name| which(name).is_some()),
    debian: &["iproute2"],
    by_hand: "dnf install iproute",
};

const NFT: Need = Need {
    what: "nft, for tests of dropped packets",
    present: || which("nft").is_some(),
    debian: &["nftables"],
    by_hand: "dnf install nftables",
};

const TESTS: [Need; 6] = [
    Need {
        what: "bpftool",
        present: || which("bpftool").is_some(),
        debian: &["bpftool"],
        by_hand: "dnf install bpftool",
    },
    Need {
        what: "valgrind, which counts instructions",
        present: || which("valgrind").is_some(),
        debian: &["valgrind"],
        by_hand: "dnf install valgrind",
    },
    IP,
    Need {
        what: "iptables, for tests of translated addresses",
        present: || which("iptables").is_some(),
        debian: &["iptables"],
        by_hand: "dnf install iptables-nft",
    },
    NFT,
    PYTHON,
];

/// Guests get programs of this machine.
const VM: [Need; 5] = [
    Need {
        what: "QEMU, for virtual machines",
        present: || which("qemu-system-x86_64").is_some(),
        debian: &["qemu-system-x86"],
        by_hand: "dnf install qemu-system-x86-core",
    },
    Need {
        what: "a static busybox, for virtual machines",
        present: || which("busybox").is_some(),
        debian: &["busybox-static"],
        by_hand: "dnf install busybox",
    },
    Need {
        what: "xz, for modules of kernels",
        present: || which("xz").is_some(),
        debian: &["xz-utils"],
        by_hand: "dnf install xz",
    },
    IP,
    NFT,
];

const DIST: [Need; 2] = [
    Need {
        what: "static libraries, for a program without shared ones",
        present: || {
            ["libc.a", "libelf.a", "libz.a"]
                .iter()
                .all(|library| dist::find_library(library).is_ok())
        },
        debian: &["libc6-dev", "libelf-dev", "zlib1g-dev"],
        by_hand: "dnf install glibc-static elfutils-libelf-devel-static zlib-ng-compat-static",
    },
    Need {
        what: "certificates of authorities, for the image",
        present: || dist::authorities().is_ok(),
        debian: &["ca-certificates"],
        by_hand: "dnf install ca-certificates",
    },
];

const BENCH: [Need; 1] = [Need {
    what: "bpftrace, to be measured beside the agent",
    present: || which("bpftrace").is_some(),
    debian: &["bpftrace"],
    by_hand: "dnf install bpftrace",
}];

const KUBE: [Need; 3] = [
    Need {
        what: "openssl, for certificates of a cluster",
        present: || which("openssl").is_some(),
        debian: &["openssl"],
        by_hand: "dnf install openssl",
    },
    Need {
        what: "ip, for the network of a node",
        present: || which("ip").is_some(),
        debian: &["iproute2"],
        by_hand: "dnf install iproute",
    },
    Need {
        what: "kill, nsenter, setsid and unshare, for the processes of a node",
        present: || {
            ["kill", "nsenter", "setsid", "unshare"]
                .iter()
                .all(|tool| which(tool).is_some())
        },
        debian: &["util-linux", "procps"],
        by_hand: "dnf install util-linux procps-ng",
    },
];

/// What `cargo xtask setup` is asked for.
#[derive(Clone, Copy, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Wanted {
    /// Also what the kernel tests and those of the chart and with receivers use
    #[arg(long)]
    tests: bool,
    /// Also what virtual machines need
    #[arg(long)]
    vm: bool,
    /// Also a Kubernetes, which takes ten minutes to build
    #[arg(long)]
    kube: bool,
    /// Also an OpenTelemetry Collector, which takes five minutes to build
    #[arg(long)]
    collector: bool,
}

/// The build's needs, and those of what is named.
pub(crate) fn run(wanted: Wanted) -> Result<()> {
    build()?;
    if wanted.tests {
        tests()?;
        test_tools::helm()?;
        receivers::ensure_if_possible()?;
    }
    if wanted.vm {
        vm()?;
    }
    if wanted.kube {
        kube::prepare()?;
    }
    if wanted.collector {
        receivers::collector()?;
    }
    Ok(())
}

/// Everything the build needs. Returns the compiler for the kernel programs, its linker installed.
pub(crate) fn build() -> Result<Toolchain> {
    ensure(&BUILD)?;
    let Some(toolchain) = Toolchain::find() else {
        bail!(
            "no compiler for eBPF; install one with: {}",
            toolchain::BY_HAND
        );
    };
    toolchain.linker()?;
    Ok(toolchain)
}

/// What the kernel tests use on top.
pub(crate) fn tests() -> Result<TestTools> {
    ensure(&TESTS)?;
    test_tools::ensure()
}

/// Python, for programs that come as its packages.
pub(crate) fn python() -> Result<()> {
    ensure(&[PYTHON])
}

/// What virtual machines need.
pub(crate) fn vm() -> Result<()> {
    ensure(&VM)
}

/// What images are made of, besides what the build needs.
pub(crate) fn dist() -> Result<()> {
    build()?;
    ensure(&DIST)
}

/// What the agent is compared with, as far as it has to be installed.
pub(crate) fn bench() -> Result<()> {
    ensure(&BENCH)
}

/// What a Kubernetes on this machine needs, besides its programs.
pub(crate) fn kube() -> Result<()> {
    ensure(&KUBE)
}

fn ensure(needs: &[Need]) -> Result<()> {
    let mut missing = missing(needs);
    if !missing.is_empty() && can_use_apt() {
        install(&missing)?;
        missing = self::missing(needs);
    }
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        say(format!(
            "missing: {}; install it with: {}",
            need.what,
            need.hint()
        ));
    }
    bail!("this machine lacks what is named above");
}

fn missing(needs: &[Need]) -> Vec<&Need> {
    needs.iter().filter(|need| !(need.present)()).collect()
}

fn can_use_apt() -> bool {
    which("apt-get").is_some() && (is_root() || which("sudo").is_some())
}

fn install(missing: &[&Need]) -> Result<()> {
    for need in missing {
        say(format!("installing {}", need.what));
    }
    apt_get(&["update"])?;
    // Other Debian-like systems lack some of these: what cannot be had is reported, not tried.
    let offered: Vec<&str> = missing
        .iter()
        .map(|need| need.debian)
        .filter(|packages| Cmd::new("apt-cache").arg("show").args(*packages).succeeds())
        .flatten()
        .copied()
        .collect();
    if offered.is_empty() {
        return Ok(());
    }
    let install = ["install", "--yes", "--no-install-recommends"];
    apt_get(&[&install, offered.as_slice()].concat())
}

/// Runs apt-get as root, without questions.
pub(crate) fn apt_get(args: &[&str]) -> Result<()> {
    Cmd::root("env")?
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"])
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .run()
}

impl Need {
    fn hint(&self) -> String {
        if which("apt-get").is_some()
            && Cmd::new("apt-cache")
                .arg("show")
                .args(self.debian)
                .succeeds()
        {
            format!("apt-get install {}", self.debian.join(" "))
        } else {
            self.by_hand.to_owned()
        }
    }
}
