//! The catalogue must be well formed, because nothing checks it at run time.

use std::collections::BTreeSet;

use super::*;

#[test]
fn attributes_are_declared_in_key_order() {
    assert!(Attr::ALL.is_sorted_by(|a, b| a.key() < b.key()));
    assert!(FLOW.is_sorted_by(|a, b| a < b));
}

#[test]
fn metric_names_are_unique() {
    let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(names.len(), Metric::ALL.len());
}

#[test]
fn each_metric_is_consistent() {
    for metric in Metric::ALL {
        let definition = metric.definition();
        let histogram = definition.instrument == Instrument::Histogram;
        assert_eq!(
            histogram,
            !definition.bounds.is_empty(),
            "{}",
            definition.name
        );
        assert!(
            definition.bounds.is_sorted_by(|a, b| a < b),
            "{}",
            definition.name
        );
        assert!(
            !histogram || definition.value == ValueKind::Float,
            "{}",
            definition.name
        );
        assert!(
            definition.own_attributes.is_sorted_by(|a, b| a < b),
            "{}",
            definition.name
        );
        let attributes: Vec<_> = definition.attributes().collect();
        let unique: BTreeSet<_> = attributes.iter().collect();
        assert_eq!(unique.len(), attributes.len(), "{}", definition.name);
        assert!(definition.description.ends_with('.'), "{}", definition.name);
    }
}
