//! Letting go of connections whose end the programs missed.

use super::super::crossed::Crossing;
use super::super::source::Source;
use super::super::suspects::Whereabouts;
use super::State;
use crate::counters::Discard;
use crate::events::{Body, Event};
use crate::recording::Missing;

impl<S: Source> State<S> {
    /// While tables are copied an entry may be made of a connection after its end.
    pub(super) fn forget_unmet(&mut self, event: &Event<'_>) {
        if let Body::TcpClose(end) = &event.body
            && end.connection.unmet
        {
            self.about.source.forget(end.connection.socket_id);
        }
    }

    /// A count of the kernel's connections is done, and everything is read that happened meanwhile: who was missing again is
    /// gone.
    pub(in super::super) fn reconcile(&mut self, missing: &Missing) {
        // Nearly always nobody is.
        if missing.sockets.is_empty() {
            self.suspects.forget();
            return;
        }
        let Missing {
            sockets,
            namespaces: trusted,
            is_complete,
        } = missing;
        let aggregator = &self.aggregator;
        // One whose opening waits for its pod's metadata would be followed when that is known, and for ever.
        let may_wait = !self.waiting.is_empty();
        let suspected = sockets.iter().filter_map(|socket| {
            let whereabouts = match aggregator.namespace_of(*socket) {
                Some(netns) if trusted.contains(&netns) => Whereabouts::Counted,
                _ if !*is_complete => return None,
                None if may_wait => Whereabouts::Waiting,
                _ => Whereabouts::Nowhere,
            };
            Some((*socket, whereabouts))
        });
        let gone = self.suspects.missing(suspected, self.clock.now());
        self.let_go(&gone);
    }

    /// Whether a snapshot tells of a connection whose end was told already. Takes out of the kernel's table what snapshots put
    /// there in the moment of the end.
    pub(super) fn was_over(&mut self, event: &Event<'_>) -> bool {
        // An address may be another's by now.
        if !self.about.source.know_sockets_by_cookie() {
            return false;
        }
        let Some(Crossing { socket, was_over }) = self.crossed.see(event) else {
            return false;
        };
        self.about.source.forget(socket);
        was_over
    }

    fn let_go(&mut self, sockets: &[u64]) {
        let now = self.clock.now_unix_nano();
        let mut ends = 0;
        for socket in sockets {
            // If its entry went meanwhile, the news of its end is on the way. If not, none will come.
            if self.about.source.forget(*socket) {
                ends += 1;
                self.aggregator
                    .connection_vanished(&mut self.store, *socket, now);
            }
        }
        if ends > 0 {
            self.counters.discard(Discard::KernelEndMissed, ends);
            tracing::warn!(
                connections = ends,
                "connections ended and no program told of it: they are not active any more"
            );
        }
    }
}
