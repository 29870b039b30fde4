//! How large a request gets, known before it is put together.

/// What a request may weigh encoded. Many receivers take no more than gRPC's default of 4 MiB.
pub(super) const MAX_REQUEST: usize = 7 * 512 * 1024;

/// The most that a message of `length` bytes takes up as a field of another: its tag (fields 1 to 15), a length of at
/// most 2²⁸ − 1, and itself.
pub(super) const fn nested(length: usize) -> usize {
    1 + 4 + length
}

/// Keeps an upper bound on the size of one request.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    used: bool,
}

/// Whether something has its place in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In this one; its bytes are reserved.
    Yes,
    /// In the next one.
    Later,
    /// In none.
    Never,
}

impl Budget {
    /// For an empty request of at most `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            left: limit,
            used: false,
        }
    }

    /// Makes room for `bytes` more, if there is room.
    pub(super) const fn reserve(&mut self, bytes: usize) -> Fit {
        if bytes <= self.left {
            self.left -= bytes;
            self.used = true;
            Fit::Yes
        } else if self.used {
            Fit::Later
        } else {
            Fit::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_fits_is_told_from_what_fits_later() {
        let mut budget = Budget::new(10);
        assert_eq!(budget.reserve(11), Fit::Never);
        assert_eq!(budget.reserve(10), Fit::Yes);
        assert_eq!(budget.reserve(11), Fit::Later);
        assert_eq!(budget.reserve(1), Fit::Later);
        assert_eq!(budget.reserve(0), Fit::Yes);
    }
}
