//! Which capabilities the agent has, and which its features need.

use std::{fmt, fs, io};

/// Capabilities Wellhead may need; numbers of `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Capability {
    /// Reading any file and directory.
    DacReadSearch = 2,
    /// Asking netfilter.
    NetAdmin = 12,
    /// Looking into processes of others.
    SysPtrace = 19,
    /// Everything; what kernels before 5.8 ask for in place of the two below.
    SysAdmin = 21,
    /// Tracing programs.
    Perfmon = 38,
    /// The `bpf(2)` system call.
    Bpf = 39,
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// The effective set of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Reads the effective set of the calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted, or `/proc/self/status` is not as `proc_pid_status(5)` describes it.
    pub fn current() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        parse(&status).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "no CapEff in /proc/self/status")
        })
    }

    /// A set of just these.
    #[cfg(test)]
    pub(crate) fn of(capabilities: &[Capability]) -> Self {
        let bits = capabilities
            .iter()
            .map(|capability| 1 << *capability as u32);
        Self(bits.fold(0, |set, bit: u64| set | bit))
    }

    /// Whether the set has a capability. `CAP_SYS_ADMIN` stands for the two newer ones, as it does in the kernel.
    pub fn has(self, capability: Capability) -> bool {
        let bit = |capability: Capability| self.0 >> capability as u32 & 1 == 1;
        let stands_for = matches!(capability, Capability::Bpf | Capability::Perfmon);
        bit(capability) || (stands_for && bit(Capability::SysAdmin))
    }

    /// Those of `needed` that are missing.
    pub fn missing(self, needed: &[Capability]) -> Vec<Capability> {
        needed
            .iter()
            .copied()
            .filter(|capability| !self.has(*capability))
            .collect()
    }
}

fn parse(status: &str) -> Option<Capabilities> {
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok().map(Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_set() {
        let check = |status: &str, missing: &[Capability]| {
            let set = parse(status).expect("parses");
            assert_eq!(
                set.missing(&[Capability::Bpf, Capability::Perfmon]),
                missing,
                "{status}"
            );
        };
        check(
            "Name:\tx\nCapEff:\t0000000000000000\n",
            &[Capability::Bpf, Capability::Perfmon],
        );
        check("CapEff:\t000001fffeffffff\n", &[]);
        check("CapEff:\t0000000000200000\n", &[]);
        check("CapEff:\t0000008000000000\n", &[Capability::Perfmon]);
        assert_eq!(parse("CapPrm:\t00\n"), None);
        assert_eq!(parse("CapEff:\tzz\n"), None);
    }
}
