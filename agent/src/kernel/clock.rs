//! From the kernel's boot clock to wall time.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The difference between `CLOCK_REALTIME` and `CLOCK_BOOTTIME`, taken once and checked again now and then: records
/// carry boot time, which neither jumps nor stops in suspend.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset_ns: i64,
    /// The time of a recording that is replayed; `None`: it is now.
    stopped_at: Option<u64>,
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
            stopped_at: None,
        }
    }

    /// One that stands at a boot time until it is set, on a machine whose wall clock was ahead of its boot clock by so much.
    pub fn stopped(boot_ns: u64, offset_ns: i64) -> Self {
        Self {
            offset_ns,
            stopped_at: Some(boot_ns),
        }
    }

    /// Sets one that stands; never back.
    pub fn set(&mut self, boot_ns: u64) {
        if let Some(stopped_at) = &mut self.stopped_at {
            *stopped_at = boot_ns.max(*stopped_at);
        }
    }

    /// Moves the wall clock.
    pub fn move_wall(&mut self, nanoseconds: i64) {
        self.offset_ns = self.offset_ns.saturating_add(nanoseconds);
    }

    /// By how much the wall clock is ahead of the boot clock.
    pub fn offset_ns(&self) -> i64 {
        self.offset_ns
    }

    /// Measures again and adopts a difference that moved by more than a millisecond (the wall clock was set). Returns by how many
    /// nanoseconds, if it did.
    pub fn check(&mut self) -> Option<i64> {
        if self.stopped_at.is_some() {
            return None;
        }
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

    /// Now on this one's boot clock.
    pub fn now(&self) -> u64 {
        self.stopped_at.unwrap_or_else(Self::boot_ns)
    }

    /// Now on the machine's boot clock.
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
        self.unix_nano(self.now())
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
