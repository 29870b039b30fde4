//! How many jiffies this kernel has in a second (`CONFIG_HZ`), which it tells nobody.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    time::Duration,
};

use libbpf_sys as sys;
use rustix::time::{ClockId, clock_gettime};

/// What kernels are configured with.
const USUAL: [u32; 10] = [100, 128, 200, 250, 256, 300, 500, 512, 1_000, 1_024];

/// They are counted from so many seconds before the lower half of the count overflows (`INITIAL_JIFFIES`,
/// `include/linux/jiffies.h`).
const BEFORE_OVERFLOW: u32 = 300;

/// The count may differ by so many seconds from the clock: it starts when the machine's first timer does.
const TOLERANCE: u32 = 3;

/// Jiffies in a second; `None` if that cannot be found out.
pub(super) fn per_second() -> Option<u32> {
    let counter = Counter::load().ok()?;
    // While the machine is up for about five minutes one reading says nothing: then the difference of two does.
    likely(counter.count().ok()?, uptime()).or_else(|| counter.measure())
}

/// Which of the usual numbers leads to this count after so long, if it is one alone.
fn likely(count: u32, uptime: Duration) -> Option<u32> {
    let mut fitting = USUAL.into_iter().filter(|per_second| {
        let apart = count
            .wrapping_sub(expected(*per_second, uptime))
            .cast_signed();
        apart.unsigned_abs() < TOLERANCE * per_second
    });
    fitting.next().filter(|_| fitting.next().is_none())
}

/// The lower half of the count after so long.
fn expected(per_second: u32, uptime: Duration) -> u32 {
    let ran = uptime.as_millis() * u128::from(per_second) / 1_000;
    let lower_half = u32::try_from(ran & u128::from(u32::MAX)).unwrap_or_default();
    lower_half.wrapping_sub(BEFORE_OVERFLOW * per_second)
}

/// Since the machine started, without what it slept.
fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// A kernel program that returns the lower half of the count, and is run by hand alone.
struct Counter(OwnedFd);

impl Counter {
    fn load() -> io::Result<Self> {
        // `call bpf_jiffies64; exit` as `struct bpf_insn`.
        let code: [u64; 2] = [0x85 | u64::from(sys::BPF_FUNC_jiffies64) << 32, 0x95];
        // SAFETY: the code outlives the call and is as long as said; no options are given.
        let result = unsafe {
            sys::bpf_prog_load(
                sys::BPF_PROG_TYPE_SOCKET_FILTER,
                c"jiffies".as_ptr(),
                c"Dual MIT/GPL".as_ptr(),
                code.as_ptr().cast(),
                code.len() as sys::size_t,
                ptr::null_mut(),
            )
        };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        // SAFETY: the call returned a new descriptor, which nobody else knows.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(result) }))
    }

    fn count(&self) -> io::Result<u32> {
        // An Ethernet header: the least that a socket filter is run with.
        let packet = [0_u8; 14];
        let mut options = sys::bpf_test_run_opts {
            sz: size_of::<sys::bpf_test_run_opts>() as sys::size_t,
            data_in: packet.as_ptr().cast(),
            data_size_in: 14,
            ..Default::default()
        };
        // SAFETY: program and options are valid for the call, and the packet is as long as said.
        let result = unsafe { sys::bpf_prog_test_run_opts(self.0.as_raw_fd(), &raw mut options) };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(options.retval)
    }

    fn measure(&self) -> Option<u32> {
        let (before, from) = (self.count().ok()?, uptime());
        std::thread::sleep(Duration::from_millis(300));
        let (after, to) = (self.count().ok()?, uptime());
        let rate = f64::from(after.wrapping_sub(before)) / to.saturating_sub(from).as_secs_f64();
        let distance = |per_second: u32| (rate / f64::from(per_second)).ln().abs();
        USUAL
            .into_iter()
            .min_by(|one, other| distance(*one).total_cmp(&distance(*other)))
            .filter(|nearest| distance(*nearest) < 0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_tells_but_near_the_overflow() {
        for per_second in [100, 250, 300, 1_000] {
            // It starts half a second late.
            let count = |uptime: Duration| expected(per_second, uptime) - per_second / 2;
            for uptime in [1, 60, 3_600, 4_000_000, 40_000_000] {
                let uptime = Duration::from_secs(uptime);
                assert_eq!(
                    likely(count(uptime), uptime),
                    Some(per_second),
                    "{uptime:?}"
                );
            }
            let overflow = Duration::from_secs(301);
            assert_eq!(likely(count(overflow), overflow), None);
        }
        assert_eq!(likely(5, Duration::from_secs(1_000)), None);
    }
}
