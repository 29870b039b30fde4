//! From the kernel's boot clock to wall time.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The difference between `CLOCK_REALTIME` and `CLOCK_BOOTTIME`, taken once and checked again now and then: records
/// carry boot time, which neither jumps nor stops in suspend.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset_ns: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Measures the difference now.
    pub fn new() -> Self {
        Self {
            offset_ns: measure(),
        }
    }

    /// Measures again and adopts a difference that moved by more than a millisecond (the wall clock was set). Returns by how many
    /// nanoseconds, if it did.
    pub fn check(&mut self) -> Option<i64> {
        let offset_ns = measure();
        let moved = offset_ns.saturating_sub(self.offset_ns);
        if moved.unsigned_abs() <= 1_000_000 {
            return None;
        }
        self.offset_ns = offset_ns;
        Some(moved)
    }

    /// Nanoseconds since the Unix epoch for a boot time.
    pub fn unix_nano(&self, boot_ns: u64) -> u64 {
        boot_ns.saturating_add_signed(self.offset_ns)
    }

    /// Now on the boot clock.
    pub fn boot_ns() -> u64 {
        nanoseconds(clock_gettime(ClockId::Boottime))
    }

    /// Now on the wall clock, nanoseconds since the Unix epoch.
    pub fn wall_ns() -> u64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Now on the wall clock as the records see it.
    pub fn now_unix_nano(&self) -> u64 {
        self.unix_nano(Self::boot_ns())
    }
}

fn measure() -> i64 {
    let wall = i64::try_from(Clock::wall_ns()).unwrap_or(i64::MAX);
    wall.saturating_sub_unsigned(Clock::boot_ns())
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}
