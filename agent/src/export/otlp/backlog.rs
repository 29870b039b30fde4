//! Requests that wait to be sent.

use std::collections::VecDeque;

use super::{grouped::Request, spill::Spill};

/// What one takes beside its body.
const OVERHEAD: usize = 64;

/// Encoded requests, the oldest first, bounded by bytes. Those in memory are newer than those on disk.
#[derive(Debug)]
pub(super) struct Backlog {
    requests: VecDeque<Request>,
    bytes: usize,
    limit: usize,
    /// Where the oldest go that memory has no room for; `None`: nowhere.
    spill: Option<Spill>,
    /// The request that was given out and not settled.
    out: Option<Out>,
    /// The disk does not take what it is given; said once.
    is_failing: bool,
}

#[derive(Debug)]
enum Out {
    FromMemory(Request),
    FromDisk,
}

/// Items that were not kept, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// The oldest, which made room.
    pub(super) no_room: u64,
    /// Unreadable on disk.
    pub(super) torn: u64,
}

impl Backlog {
    /// For at most `limit` bytes of memory, but always room for one request.
    pub(super) const fn new(limit: usize, spill: Option<Spill>) -> Self {
        Self {
            requests: VecDeque::new(),
            bytes: 0,
            limit,
            spill,
            out: None,
            is_failing: false,
        }
    }

    /// What a request counts as.
    pub(super) fn weight(request: &Request) -> usize {
        request.body.len() + OVERHEAD
    }

    /// Puts a request in as the newest.
    pub(super) fn push(&mut self, request: Request) -> Lost {
        let bytes = Self::weight(&request);
        let mut no_room = 0;
        while self.bytes.saturating_add(bytes) > self.limit
            && let Some(oldest) = self.pop()
        {
            no_room += self.put_on_disk(&oldest);
        }
        self.bytes += bytes;
        self.requests.push_back(request);
        Lost { no_room, torn: 0 }
    }

    /// The oldest, which counts as waiting until it is settled. One at a time.
    pub(super) fn next(&mut self) -> (Option<Request>, Lost) {
        let mut lost = Lost::default();
        if let Some(request) = self.spill.as_mut().and_then(|it| it.next(&mut lost.torn)) {
            self.out = Some(Out::FromDisk);
            return (Some(request), lost);
        }
        let request = self.pop();
        self.out = request.clone().map(Out::FromMemory);
        (request, lost)
    }

    /// The request given out last was delivered, or given up.
    pub(super) fn settle(&mut self) {
        if let (Some(Out::FromDisk), Some(spill)) = (self.out.take(), &mut self.spill) {
            spill.settle();
        }
    }

    /// Items in all of them.
    pub(super) fn items(&self) -> u64 {
        let out = match &self.out {
            Some(Out::FromMemory(request)) => request.items,
            Some(Out::FromDisk) | None => 0,
        };
        let waiting: u64 = self.requests.iter().map(|request| request.items).sum();
        out + waiting + self.spill.as_ref().map_or(0, Spill::items)
    }

    /// Leaves to the next agent what can be left. Returns how many items are lost.
    pub(super) fn close(mut self) -> u64 {
        let out = match self.out.take() {
            Some(Out::FromMemory(request)) => Some(request),
            Some(Out::FromDisk) | None => None,
        };
        let waiting = std::mem::take(&mut self.requests);
        let all = out.into_iter().chain(waiting);
        all.map(|request| self.put_on_disk(&request)).sum()
    }

    fn pop(&mut self) -> Option<Request> {
        let oldest = self.requests.pop_front()?;
        self.bytes -= Self::weight(&oldest);
        Some(oldest)
    }

    /// Returns how many items are lost by that.
    fn put_on_disk(&mut self, request: &Request) -> u64 {
        let Some(spill) = &mut self.spill else {
            return request.items;
        };
        let mut dropped = 0;
        match spill.append(request, &mut dropped) {
            Ok(()) => {
                self.is_failing = false;
                dropped
            }
            Err(error) => {
                if !self.is_failing {
                    let error = crate::causes::chain(&error);
                    tracing::warn!(error, "what waits for its export cannot be kept on disk");
                }
                self.is_failing = true;
                dropped + request.items
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(bytes: usize, items: u64) -> Request {
        Request {
            body: vec![0; bytes].into(),
            items,
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let mut backlog = Backlog::new(3 * (100 + OVERHEAD), None);
        let mut check = |bytes, items, no_room, left| {
            let lost = backlog.push(request(bytes, items));
            assert_eq!(lost, Lost { no_room, torn: 0 }, "{bytes}");
            assert_eq!(backlog.items(), left, "{bytes}");
        };
        check(100, 1, 0, 1);
        check(100, 2, 0, 3);
        check(100, 4, 0, 7);
        check(1, 8, 1, 14);
        check(200, 16, 6, 24);
        // Alone it has its place, however large it is.
        check(10_000, 32, 24, 32);
        assert_eq!(backlog.next().0, Some(request(10_000, 32)));
        assert_eq!(backlog.items(), 32);
        backlog.settle();
        assert_eq!((backlog.next().0, backlog.items()), (None, 0));
    }

    #[test]
    fn with_a_disk_nothing_is_lost_and_the_order_stays() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Spill::open(directory.path(), 64 << 20).unwrap().0;
        let mut backlog = Backlog::new(2 * (10 + OVERHEAD), Some(open()));
        for items in 1..=10 {
            assert_eq!(backlog.push(request(10, items)), Lost::default());
        }
        assert_eq!(backlog.items(), 55);
        for items in 1..=4 {
            assert_eq!(backlog.next().0, Some(request(10, items)));
            backlog.settle();
        }
        // One is on its way when the agent stops.
        assert_eq!(backlog.next().0, Some(request(10, 5)));
        assert_eq!(backlog.close(), 0);
        let mut backlog = Backlog::new(usize::MAX, Some(open()));
        assert_eq!(backlog.push(request(10, 11)), Lost::default());
        let again: Vec<u64> = std::iter::from_fn(|| {
            let next = backlog.next().0;
            backlog.settle();
            next.map(|request| request.items)
        })
        .collect();
        assert_eq!(again.last_chunk(), Some(&[5, 6, 7, 8, 9, 10, 11]));
    }

    #[test]
    fn without_a_disk_what_is_left_is_lost() {
        let mut backlog = Backlog::new(usize::MAX, None);
        for items in [1, 2, 4] {
            assert_eq!(backlog.push(request(10, items)), Lost::default());
        }
        assert_eq!(backlog.next().0, Some(request(10, 1)));
        assert_eq!(backlog.close(), 7);
    }
}
