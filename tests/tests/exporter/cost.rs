//! What does not depend on how busy a machine is: sizes.

use crate::support::Made;

/// One call of each of so many models, as the filter counts them.
fn stats(models: usize) -> String {
    let line = |number: usize| {
        let series = format!("kserve-v1.model-{number:05}.~.POST./v1/models/{{model}}%3Apredict");
        let prefix = "wasmcustom.scoretap";
        format!(
            "{prefix}.call.{series}.200.success: 1\n{prefix}.cell.{series}.duration.success.5000000: 1\n\
             {prefix}.sum.{series}.duration.success: 3123456\n"
        )
    };
    (0..models).map(line).collect()
}

#[test]
fn the_binary_has_at_most_6_mb() {
    let size = std::fs::metadata(scoretap_tests::workspace::exporter()).unwrap().len();
    assert!(size <= 6_000_000, "{size} bytes");
}

#[test]
fn memory_is_at_most_10_mb_idle_and_25_mb_at_1000_models() {
    let made = Made::start("exporter-memory", stats(1000), &[]);
    assert!(made.most_memory() <= 10.0, "{} MB idle", made.most_memory());
    for _ in 0..20 {
        let text = made.scrape("text/plain;version=0.0.4");
        assert_eq!(text.matches("\nprediction_duration_seconds_count{").count(), 1001);
        made.scrape("application/openmetrics-text;version=1.0.0");
    }
    assert!(made.most_memory() <= 25.0, "{} MB", made.most_memory());
}
