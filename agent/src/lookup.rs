//! Connecting to servers by name, without look-ups that pile up. A leaf, like `counters`.

use std::{
    fmt,
    io::{self, Error},
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tower_service::Service;

/// Connects to one server. Clones share its look-ups, and belong to whoever tries again.
pub(crate) fn connector() -> HttpConnector<Lookup> {
    let mut tcp = HttpConnector::new_with_resolver(Lookup::new(ask_the_system));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

fn ask_the_system(name: &str) -> io::Result<vec::IntoIter<SocketAddr>> {
    (name, 0).to_socket_addrs()
}

type Ask = dyn Fn(&str) -> io::Result<vec::IntoIter<SocketAddr>> + Send + Sync;

/// Looks up one name at a time.
///
/// What asks the system cannot be called off: where a name server is silent, the look-up goes on long after its connection was
/// given up. The next one waits for it, without a thread; else attempts would soon take all the threads there are.
#[derive(Clone)]
pub(crate) struct Lookup {
    ask: Arc<Ask>,
    turn: Arc<Semaphore>,
}

impl Lookup {
    fn new(
        ask: impl Fn(&str) -> io::Result<vec::IntoIter<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            ask: Arc::new(ask),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl Service<Name> for Lookup {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { ask, turn } = self.clone();
        Box::pin(async move {
            let turn = turn.acquire_owned().await.map_err(Error::other)?;
            let asked = spawn_blocking(move || {
                let addresses = ask(name.as_str());
                drop(turn);
                addresses
            });
            asked.await?
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use tokio::sync::Notify;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let found = Lookup::new(ask_the_system).call(name("localhost")).await;
        assert!(found.unwrap().all(|address| address.ip().is_loopback()));
    }

    /// One look-up hangs. However many attempts are given up meanwhile, there is no second one until it ends.
    #[tokio::test]
    async fn a_look_up_that_hangs_takes_one_thread() {
        let (answer, silence) = mpsc::sync_channel::<()>(0);
        let silence = Mutex::new(silence);
        let (asked, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = {
            let (asked, begun) = (Arc::clone(&asked), Arc::clone(&begun));
            move |_: &str| {
                asked.fetch_add(1, Ordering::Relaxed);
                begun.notify_one();
                assert!(silence.lock().unwrap().recv().is_err());
                Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))].into_iter())
            }
        };
        let mut lookup = Lookup::new(ask);
        let mut first = lookup.call(name("silent.example"));
        tokio::select! {
            _ = &mut first => panic!("it does not hang"),
            () = begun.notified() => {}
        }
        drop(first);
        for _ in 0..100 {
            let mut attempt = lookup.call(name("silent.example"));
            assert!(futures::poll!(&mut attempt).is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        drop(answer);
        assert_eq!(lookup.call(name("silent.example")).await.unwrap().len(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
