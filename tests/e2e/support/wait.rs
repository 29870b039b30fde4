//! Waiting for what happens soon, without guessing how soon.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine; nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(30);

/// Tries until there is an answer.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(PAUSE);
    }
}

/// Looks until it sees what it should; then, or at the end of its patience, that is asserted.
pub(crate) fn eventually<T: PartialEq + Debug>(
    what: &str,
    expected: &T,
    mut look: impl FnMut() -> T,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen == *expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: expected {expected:?}, and still is {seen:?}"
        );
        thread::sleep(PAUSE);
    }
}
