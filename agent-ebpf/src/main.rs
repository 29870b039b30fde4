//! Wellhead's kernel programs: one object for every kernel.
//!
//! All programs only read. Most are tracepoints: BTF tracepoints, and [`classic`] ones for kernels without BTF; those of [`passing`]
//! see packets as they pass the root of the cgroup tree. Structure offsets come from the running kernel's BTF through
//! `.rodata` ([`kernel`]), so a field access is one direct load that the verifier checks against the kernel's own types.
//! Records go to one ring per family ([`output`]); a record that finds its ring full is counted, never waited for.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod attempt_errors;
mod cgroup;
mod classic;
mod classic_tcp;
mod dns;
mod drops;
mod exits;
mod handshakes;
mod kernel;
mod listeners;
mod live;
mod nested;
mod oom;
mod output;
mod packet;
mod passing;
mod paths;
mod process;
mod resets;
mod retransmits;
mod signals;
mod socket;
mod spill;
mod state;
mod tcp;
mod udp;
mod usage;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier rejects programs that could get here.
    loop {}
}

/// The object calls GPL-only helpers (`bpf_probe_read_kernel` and others).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
