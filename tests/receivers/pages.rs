//! Pages of any content, as a real Prometheus scrapes them, in every format that it can ask for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use proptest::test_runner::{Config, TestError, TestRunner};
use wellhead::export::prometheus::escaping::Escaping;
use wellhead::export::prometheus::negotiation::{Exposition, Format};
use wellhead_tests::hostile::{HostilePage, Samples};

use crate::programs::{Prometheus, Scrape, Target, ready};
use crate::support::until;

const CASES: u32 = 12;

/// What Prometheus can be told to ask for, and how pages then are. Other ways of escaping leave all names as they are.
const WAYS: [(Scrape, Exposition); 5] = [
    way(0, "allow-utf-8", Format::OpenMetrics, Escaping::AllowUtf8),
    way(0, "dots", Format::OpenMetrics, Escaping::Dots),
    way(1, "allow-utf-8", Format::Text1, Escaping::AllowUtf8),
    way(1, "dots", Format::Text1, Escaping::Dots),
    // It knows of no escaping.
    way(2, "allow-utf-8", Format::Text, Escaping::Underscores),
];

const fn way(
    protocol: usize,
    escaping: &'static str,
    format: Format,
    names: Escaping,
) -> (Scrape, Exposition) {
    let scrape = Scrape {
        protocol: Scrape::PROTOCOLS[protocol],
        escaping,
    };
    (scrape, Exposition { format, names })
}

/// A family beside the page's own, which tells the pages apart.
const NUMBER: &str = "wellhead_test_page_number";

#[test]
fn values_of_any_text_come_back_byte_for_byte() {
    if !ready() {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = Arc::new(Served::default());
    let serving = Arc::clone(&served);
    // Ends with the test program.
    thread::spawn(move || serving.answer_all(&listener));
    let targets = WAYS.map(|(scrape, _)| Target {
        name: format!("{} {}", scrape.protocol, scrape.escaping),
        address,
        scrape,
    });
    let prometheus = Prometheus::start(&targets);
    let numbers = AtomicU32::new(1);
    // What fails is told, and need not be kept.
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::with_cases(CASES)
    };
    let found = TestRunner::new(config).run(&HostilePage::any(), |page| {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        served.set(&page, number);
        for (index, (target, (_, exposition))) in targets.iter().zip(WAYS).enumerate() {
            let found = served.scraped(&prometheus, target, index, number);
            assert_eq!(found, page.samples(exposition.names), "{}", target.name);
        }
        Ok(())
    });
    match found {
        Ok(()) => {}
        // Why comes last: the page before it is long.
        Err(TestError::Fail(why, page)) => panic!("{page:?}\nfails because {why}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// What is served at the moment.
#[derive(Debug, Default)]
struct Served {
    pages: Mutex<[ServedPage; WAYS.len()]>,
}

#[derive(Debug, Default)]
struct ServedPage {
    page: String,
    /// How often it has been read since it was set.
    times: u32,
}

impl Served {
    fn set(&self, page: &HostilePage, number: u32) {
        let pages = WAYS.map(|(_, exposition)| {
            let mut text = page.written(exposition);
            let end = text.strip_suffix("# EOF\n").map_or(text.len(), str::len);
            text.insert_str(end, &format!("# TYPE {NUMBER} gauge\n{NUMBER} {number}\n"));
            ServedPage {
                page: text,
                times: 0,
            }
        });
        *self.lock() = pages;
    }

    fn lock(&self) -> MutexGuard<'_, [ServedPage; WAYS.len()]> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Prometheus has of the page of this number.
    fn scraped(
        &self,
        prometheus: &Prometheus,
        target: &Target,
        index: usize,
        number: u32,
    ) -> Samples {
        let page_number = (NUMBER.to_owned(), [].into());
        until("Prometheus to take the page", || {
            // Before it is looked for: the last complaint is of this page once it was read twice. After a few times more it is no
            // accident of one scrape.
            let was_read = self.lock()[index].times > 4;
            let complaint = prometheus.complaint(target);
            let mut found = prometheus.samples(target, "");
            let is_taken = found.remove(&page_number) == Some(f64::from(number));
            // On a busy machine a page can take too long; there will be another scrape.
            let is_refused = !complaint.is_empty() && !complaint.contains("deadline");
            assert!(
                is_taken || !was_read || !is_refused,
                "it is refused: {complaint}"
            );
            is_taken.then_some(found)
        })
    }

    fn answer_all(&self, listener: &TcpListener) {
        for connection in listener.incoming() {
            // Prometheus gives up on a slow answer; there will be another scrape.
            drop(connection.and_then(|connection| self.answer(connection)));
        }
    }

    /// Serves one page in the format that is asked for, as the agent's own endpoint finds out which.
    fn answer(&self, mut connection: TcpStream) -> io::Result<()> {
        let mut accept = String::new();
        for line in BufReader::new(&connection).lines() {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("accept") => {
                    value.clone_into(&mut accept);
                }
                None if line.is_empty() => break,
                _ => {}
            }
        }
        let asked = Exposition::negotiate([accept.as_str()]);
        let index = WAYS.iter().position(|(_, exposition)| *exposition == asked);
        let index = index.unwrap_or_else(|| panic!("asked for otherwise: {accept}"));
        let page = {
            let served = &mut self.lock()[index];
            served.times += 1;
            served.page.clone()
        };
        write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
            asked.content_type(),
            page.len()
        )
    }
}
