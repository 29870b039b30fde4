//! Agents, and the ways that what they tell takes to where it can be asked for.

use crate::programs::{
    Collecting, Onward, Prometheus, Scrape, Target, VictoriaMetrics, collector, rotel,
};
use crate::query::series;
use crate::support::{Agent, AgentBuilder};
use wellhead_tests::hostile::Samples;

/// An agent whose metrics end in a VictoriaMetrics of their own.
#[derive(Debug)]
pub(crate) struct Road {
    pub(crate) name: &'static str,
    agent: Agent,
    store: VictoriaMetrics,
    _through: Option<Collecting>,
}

impl Road {
    /// Every one that there can be here.
    pub(crate) fn all() -> Vec<Self> {
        let direct = Self::new("directly", |store| {
            let agent = sending().set("otlp.metrics.endpoint", store.url());
            Some((agent, None))
        });
        let through_rotel = Self::new("through rotel", |store| {
            let rotel = rotel(&to(store));
            let agent = sending().set("otlp.endpoint", rotel.endpoint());
            Some((agent, Some(rotel)))
        });
        let through_the_collector = Self::new("through the Collector", |store| {
            let collector = collector(&to(store))?;
            let agent = sending()
                .set("otlp.endpoint", collector.endpoint())
                .set("otlp.protocol", "grpc");
            Some((agent, Some(collector)))
        });
        [direct, through_rotel, through_the_collector]
            .into_iter()
            .flatten()
            .collect()
    }

    fn new(
        name: &'static str,
        make: impl FnOnce(&VictoriaMetrics) -> Option<(AgentBuilder, Option<Collecting>)>,
    ) -> Option<Self> {
        let store = VictoriaMetrics::start();
        let (agent, through) = make(&store)?;
        Some(Self {
            name,
            agent: agent.start(),
            store,
            _through: through,
        })
    }

    /// Its agent's page, in each format.
    pub(crate) fn targets(&self) -> [Target; 3] {
        Scrape::in_all_formats().map(|scrape| Target {
            name: format!("{}, {}", self.name, scrape.protocol),
            address: self.agent.address,
            scrape,
        })
    }

    /// What has come to the end of it.
    pub(crate) fn arrived(&self, selector: &str) -> Samples {
        series(self.store.port, &format!("{{{selector}}}"))
    }
}

/// Prometheus, reading what each agent shows, in each format.
pub(crate) fn scraped(roads: &[Road]) -> Prometheus {
    let targets = roads.iter().flat_map(Road::targets);
    Prometheus::start(&targets.collect::<Vec<_>>())
}

fn to(store: &VictoriaMetrics) -> Onward {
    Onward {
        metrics: Some(store.url()),
        ..Onward::default()
    }
}

fn sending() -> AgentBuilder {
    Agent::builder().set("otlp.interval", "300ms")
}
