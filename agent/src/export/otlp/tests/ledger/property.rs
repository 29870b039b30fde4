//! What arrives adds up, for any order of events.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::{Amount, Rig, Said};
use crate::{
    counters::Discard,
    export::otlp::settings::Temporality,
    identity::{OwnerId, Value},
    telemetry::{
        catalogue::{Attr, Metric},
        store::Buckets,
    },
};

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Count {
        metric: usize,
        owner: u32,
        port: i64,
        more: u8,
    },
    Expire {
        after: u64,
    },
    /// Which requests arrive.
    Export {
        arrive: u64,
    },
}

const METRICS: [Metric; 4] = [
    Metric::TcpIo,
    Metric::TcpConnectionsActive,
    Metric::TcpRtt,
    Metric::AgentProgramRunTime,
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 1..4_u32, 0..4_i64, 1..9_u8)
            .prop_map(|(metric, owner, port, more)| Step::Count { metric, owner, port, more }),
        1 => (0..30_u64).prop_map(|after| Step::Expire { after }),
        2 => any::<u64>().prop_map(|arrive| Step::Export { arrive }),
        1 => Just(Step::Export { arrive: 0 }),
    ]
}

/// What a receiver has that adds up deltas.
#[derive(Default)]
struct Receiver {
    ints: i64,
    eighths: f64,
    observations: u64,
    ends: BTreeMap<String, u64>,
}

impl Receiver {
    fn receive(&mut self, said: Vec<Said>) {
        for said in said.into_iter().filter(|said| said.delta) {
            let end = self.ends.entry(said.stream).or_default();
            assert!(
                *end <= said.start && said.start <= said.time,
                "intervals overlap"
            );
            *end = said.time;
            match said.value.expect("no end is marked") {
                Amount::Int(value) => self.ints += value,
                Amount::Float(value) => self.eighths += value,
                Amount::Counts(counts) => self.observations += counts.iter().sum::<u64>(),
                Amount::Exponential(zeros, counts) => self.observations += zeros + counts,
            }
        }
    }
}

proptest! {
    #[test]
    fn deltas_add_up_to_all_that_was_counted(
        steps in vec(step(), 0..150),
        limit in prop_oneof![Just(1_000_usize), 8..16_usize],
        exponential: bool,
    ) {
        let buckets = if exponential { Buckets::Both } else { Buckets::Explicit };
        let mut rig = Rig::new(Temporality::Delta, buckets, limit);
        let (mut receiver, mut ints, mut eighths, mut observations) = (Receiver::default(), 0, 0.0, 0);
        for step in steps {
            match step {
                Step::Count { metric, owner, port, more } => {
                    let set = rig.store.intern(&[(Attr::DestinationPort, Value::Int(port))]);
                    let (owner, now) = (OwnerId(owner), rig.time + 5);
                    match metric {
                        0 => { ints += i64::from(more); rig.store.add(METRICS[0], owner, set, more.into(), now); }
                        1 => rig.store.add(METRICS[1], owner, set, more.into(), now),
                        2 => { observations += 1; rig.store.record(METRICS[2], owner, set, f64::from(more) / 8.0, now); }
                        _ => { eighths += f64::from(more) / 8.0; rig.store.add_seconds(METRICS[3], owner, set, f64::from(more) / 8.0, now); }
                    }
                }
                Step::Expire { after } => rig.store.expire(rig.time + 6, after),
                Step::Export { arrive } => {
                    let said = rig.export(&[], |number| arrive >> (number % 64) & 1 == 1);
                    receiver.receive(said);
                }
            }
        }
        receiver.receive(rig.all());
        if rig.counters.discards(Discard::StoreEndsFull) == 0 {
            prop_assert_eq!(receiver.ints, ints);
            prop_assert_eq!(receiver.observations, observations);
            // Eighths are exact.
            prop_assert_eq!(receiver.eighths.to_bits(), f64::to_bits(eighths));
        }
        prop_assert_eq!(rig.all().iter().filter(|said| said.delta).count(), 0);
    }
}
