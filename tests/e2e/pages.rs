//! Pages of any content, as others' parsers read them.

use proptest::test_runner::{Config, TestRunner};
use wellhead::export::prometheus::escaping::Escaping;
use wellhead::export::prometheus::negotiation::{Exposition, Format as Written};
use wellhead_tests::hostile::{HostilePage, Samples, with_bound};

use crate::support::{Format, Need, judged, ready, refused_syntax};

const CASES: u32 = 24;

#[test]
fn values_of_any_text_come_back_byte_for_byte() {
    if !ready(&[Need::Python, Need::Promtool]) {
        return;
    }
    // What fails is told, and need not be kept.
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::with_cases(CASES)
    };
    let found = TestRunner::new(config).run(&HostilePage::any(), |page| {
        check(&page);
        Ok(())
    });
    assert!(found.is_ok(), "{}", found.unwrap_err());
}

fn check(page: &HostilePage) {
    for names in [Escaping::AllowUtf8, Escaping::Dots] {
        let expected = page.samples(names);
        let written = |format| page.written(Exposition { format, names });
        let text = written(Written::Text1);
        assert_eq!(read(Format::Text, &text), expected, "{text}");
        let open = written(Written::OpenMetrics);
        assert_eq!(read(Format::OpenMetrics, &open), expected, "{open}");
    }
    let text = page.written(Written::Text.into());
    let plain = page.samples(Escaping::default());
    assert_eq!(read(Format::Text, &text), plain, "{text}");
    assert_eq!(refused_syntax(&text), None, "{text}");
}

fn read(format: Format, page: &str) -> Samples {
    let samples = judged(format, page).into_iter();
    let samples = samples.map(|(series, value)| {
        let value = value.parse().expect("a number");
        (with_bound(series), value)
    });
    samples.collect()
}
