//! Names as each scheme has them. All are letters, digits and underscores, so `dots` alone shows others.

use super::super::escaping::Escaping;
use super::super::negotiation::Exposition;
use super::*;

const UNCHANGED: [Escaping; 3] = [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Values];

fn encode_as(format: Format, names: Escaping, snapshot: &Arc<Snapshot>) -> String {
    let exposition = Exposition { format, names };
    let page = Written::new(exposition, Scope::Shown, Arc::clone(snapshot), Vec::new());
    whole(page)
}

#[test]
fn names_that_need_no_escaping_stay() {
    let snapshot = every_instrument();
    for format in [Format::OpenMetrics, Format::Text1] {
        let [first, others @ ..] = UNCHANGED.map(|names| encode_as(format, names, &snapshot));
        assert!(others.iter().all(|page| *page == first), "{format:?}");
    }
}

/// What `dots` makes of a name, undone.
fn undone(name: &str) -> String {
    name.replace("__", "_")
}

#[test]
fn dots_double_underscores_and_suffixes_of_histograms_are_no_part_of_the_name() {
    let snapshot = every_instrument();
    let plain = parse(&encode_as(Format::Text1, Escaping::Underscores, &snapshot));
    let text = parse(&encode_as(Format::Text1, Escaping::Dots, &snapshot));
    let open = encode_as(Format::OpenMetrics, Escaping::Dots, &snapshot);
    let open = parse(open.strip_suffix("# EOF\n").unwrap());
    assert_eq!(text.samples.len(), plain.samples.len());
    assert_eq!(open.samples.len(), plain.samples.len());
    for (name, labels) in text.samples.keys() {
        let suffixes = ["_bucket", "_sum", "_count"];
        let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = family
            .filter(|family| !family.ends_with('_'))
            .unwrap_or(name);
        assert!(!family.replace("__", "").contains('_'), "{name}");
        for (label, _) in labels {
            assert!(!label.replace("__", "").contains('_'), "{label}");
        }
        let labels = labels
            .iter()
            .map(|(name, value)| (undone(name), value.clone()));
        let series = (undone(name), labels.collect());
        assert!(plain.samples.contains_key(&series), "{series:?}");
    }
    let names = |page: &Page| -> Vec<String> {
        page.samples.keys().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&open), names(&text));
}

#[test]
fn a_family_says_its_unit_only_where_it_ends_in_it() {
    let snapshot = every_instrument();
    let plain = encode_as(Format::OpenMetrics, Escaping::Underscores, &snapshot);
    let dots = encode_as(Format::OpenMetrics, Escaping::Dots, &snapshot);
    for page in [plain, dots] {
        let units = page.lines().filter_map(|line| line.strip_prefix("# UNIT "));
        let mut count = 0;
        for unit in units {
            let (family, unit) = unit.split_once(' ').unwrap();
            assert!(family.ends_with(&format!("_{unit}")), "{family} {unit}");
            count += 1;
        }
        assert!(count > 0);
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (family, kind) = line.split_once(' ').unwrap();
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => continue,
            };
            let sample = format!("\n{family}{suffix}");
            assert!(page.contains(&sample), "{sample}");
        }
    }
}
