//! How a guest's processor is made: by the machine's own virtualisation where that works, else in software.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::image;
use super::kernels::Image;
use super::qemu::{End, Guest, Terminal};
use crate::cmd::{say, write_if_changed};
use crate::test;

/// How long a kernel may take to boot where virtualisation works: there it is a second.
const PROBE: Duration = Duration::from_secs(20);
const DEVICE: &str = "/dev/kvm";

/// What makes a guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    Kvm,
    Software,
}

impl Accelerator {
    /// The one that works here for a kernel. Machines that are guests themselves often have the device without its
    /// working, so it is tried once, and what came of it remembered beside the kernel.
    pub(crate) fn find(kernel: &Image, work: &Path) -> Result<Self> {
        if fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE)
            .is_err()
        {
            return Ok(Self::Software);
        }
        let host = test::release()?;
        let remembered = kernel.directory().join("accelerator");
        let answer = |accelerator: Self| format!("{} {}\n", accelerator.name(), host);
        let known = fs::read_to_string(&remembered).unwrap_or_default();
        for accelerator in [Self::Kvm, Self::Software] {
            if known == answer(accelerator) {
                return Ok(accelerator);
            }
        }
        let found = if works(kernel, work)? {
            Self::Kvm
        } else {
            Self::Software
        };
        say(format!(
            "kernel {} runs by {} here",
            kernel.release,
            found.name()
        ));
        write_if_changed(&remembered, answer(found).as_bytes())?;
        Ok(found)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Software => "software emulation",
        }
    }

    pub(crate) const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Without these two: kernels since 6.12 crash at random with the emulated cmpxchg16b, and panic with the
            // emulated protection keys.
            Self::Software => ["-accel", "tcg,thread=multi", "-cpu", "max,-cx16,-pku"],
        }
    }
}

fn works(kernel: &Image, work: &Path) -> Result<bool> {
    let initrd = work.join("probe.cpio");
    image::write(&initrd, kernel, &[], "exit 0\n")?;
    let guest = Guest {
        image: kernel,
        accelerator: Accelerator::Kvm,
        cgroups: super::kernels::Cgroups::V2,
        initrd: &initrd,
        logs: &work.join("probe"),
        terminal: Terminal::File,
        limit: Some(PROBE),
    };
    Ok(guest.run(drop)? == End::Exit(0))
}
