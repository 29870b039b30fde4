//! Connections that end while a snapshot comes by. A program takes a connection out of the kernel's table before the kernel
//! writes down that it is closed (`tcp_set_state` of net/ipv4/tcp.c tells first). An iterator that sees it in between takes it
//! for one nobody knows, puts it into the table again and tells of it; nothing would ever take it out.

use std::collections::VecDeque;

use crate::events::{Body, Event};

/// Between the two are microseconds, or as long as a virtual processor stands still.
const REMEMBERED: usize = 256;

/// The connections of which that may be true.
#[derive(Debug, Default)]
pub(super) struct Crossed {
    ended: Lately,
    /// By snapshots that did not know them.
    met: Lately,
}

/// A connection whose end crossed a snapshot: the table may have it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crossing {
    pub(super) socket: u64,
    /// Its end was told before the snapshot told of it.
    pub(super) was_over: bool,
}

impl Crossed {
    /// Takes notice of an event, in the order in which they were written.
    pub(super) fn see(&mut self, event: &Event<'_>) -> Option<Crossing> {
        match &event.body {
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => {
                self.ended(end.connection.socket_id)
            }
            Body::TcpSnapshot(end) if end.connection.older_than_agent => {
                self.met(end.connection.socket_id)
            }
            _ => None,
        }
    }

    fn ended(&mut self, socket: u64) -> Option<Crossing> {
        self.ended.note(socket);
        self.met.has(socket).then_some(Crossing {
            socket,
            was_over: false,
        })
    }

    fn met(&mut self, socket: u64) -> Option<Crossing> {
        self.met.note(socket);
        self.ended.has(socket).then_some(Crossing {
            socket,
            was_over: true,
        })
    }
}

/// The last of many.
#[derive(Debug, Default)]
struct Lately(VecDeque<u64>);

impl Lately {
    fn note(&mut self, socket: u64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(socket);
    }

    fn has(&self, socket: u64) -> bool {
        self.0.contains(&socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn crossing(socket: u64, was_over: bool) -> Crossing {
        Crossing { socket, was_over }
    }

    #[test]
    fn whichever_is_told_first() {
        let mut crossed = Crossed::default();
        assert_eq!(crossed.met(1), None);
        assert_eq!(crossed.ended(1), Some(crossing(1, false)));
        assert_eq!(crossed.ended(2), None);
        assert_eq!(crossed.met(2), Some(crossing(2, true)));
        assert_eq!(crossed.met(3), None);
        assert_eq!(crossed.met(3), None);
    }

    #[test]
    fn only_the_last_are_remembered() {
        let mut crossed = Crossed::default();
        let many = REMEMBERED as u64;
        for socket in 0..=many {
            crossed.ended(socket);
        }
        assert_eq!(crossed.met(0), None);
        assert_eq!(crossed.met(1), Some(crossing(1, true)));
        assert_eq!(crossed.ended.0.len(), REMEMBERED);
    }
}
