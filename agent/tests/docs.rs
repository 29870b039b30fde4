//! The generated pages in `docs/`, and the chart's schema of the configuration, are what the code says.
//! `UPDATE_EXPECT=1 cargo test -p wellhead --test docs` writes them anew.

#[path = "docs/chart.rs"]
mod chart;

use expect_test::expect_file;
use wellhead::config;
use wellhead::export::prometheus::reference;
use wellhead::telemetry::event_reference;

#[test]
fn metrics() {
    expect_file!["../../docs/metrics.md"].assert_eq(&reference::metrics_markdown());
}

#[test]
fn events() {
    expect_file!["../../docs/events.md"].assert_eq(&event_reference::events_markdown());
}

#[test]
fn configuration() {
    expect_file!["../../docs/configuration.md"].assert_eq(&config::reference_markdown());
}

#[test]
fn values_of_the_chart() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/chart/wellhead/values.schema.json"
    );
    let chart = std::fs::read_to_string(path).expect("the chart has a schema");
    expect_file!["../../deploy/chart/wellhead/values.schema.json"]
        .assert_eq(&chart::with_config(&chart, &config::json_schema()));
}

#[test]
fn example_configuration() {
    let example = config::example_yaml().expect("defaults can be written");
    expect_file!["../../docs/wellhead.example.yaml"].assert_eq(&example);

    let keys = example.lines().filter(|line| !line.starts_with("##"));
    let keys: Vec<_> = keys
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect();
    let uncommented = keys.join("\n");
    let directory = tempfile::tempdir().expect("a directory for the file");
    let path = directory.path().join("wellhead.yaml");
    std::fs::write(&path, &uncommented).expect("a written file");
    let load = |file| {
        config::load(file, [("NODE_NAME", "node")], &[]).expect("the example has no problems")
    };
    let (example, defaults) = (load(Some(path.as_path())), load(None));
    assert_eq!(example.config, defaults.config);
    assert!(
        example.sources.len() > defaults.sources.len(),
        "{uncommented}"
    );
}
