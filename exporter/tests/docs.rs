//! The tables of metrics in `docs/` agree with the dialects. `cargo xtask generate` writes them between their markers:
//! `<!-- generated: families -->`, `insight` and `dialects`, each up to the next `<!-- /generated -->`.

use std::fmt::Write;
use std::path::Path;

use scoretap_dialect::{BUILT_IN, Dialect, Dimension, Family, Label, Measure};
use scoretap_exporter::render::self_metrics;

const HEAD: &str = "| metric | type | labels | what it tells |\n|---|---|---|---|\n";

/// The canonical metrics of calls, and the self metrics.
fn families() -> String {
    let families = built_in("prediction").families;
    let of_calls: String = families.iter().filter(|family| !is_of_bodies(family)).map(row).collect();
    let own = self_metrics::FAMILIES.iter().filter(|family| !INSIGHT.contains(&family.name));
    format!("{HEAD}{of_calls}{}", own.map(own_row).collect::<String>())
}

/// The metrics that exist only with the insight module.
fn insight() -> String {
    let families = built_in("prediction").families;
    let of_bodies: String = families.iter().filter(|family| is_of_bodies(family)).map(row).collect();
    let own = self_metrics::FAMILIES.iter().filter(|family| INSIGHT.contains(&family.name));
    format!("{HEAD}{of_bodies}{}", own.map(own_row).collect::<String>())
}

/// The exporter's own metrics about what the insight module reads.
const INSIGHT: [&str; 6] = [
    "scoretap_insight_calls_seen_total",
    "scoretap_insight_records_lost_total",
    "scoretap_bodies_total",
    "scoretap_baseline_predictions",
    "scoretap_baseline_value_ratio",
    "scoretap_baseline_valid",
];

const fn is_of_bodies(family: &Family) -> bool {
    family.measure.is_of_bodies()
}

fn row(family: &Family) -> String {
    let Family { name, help, kind, .. } = family;
    format!("| `{name}` | {} | {} | {help} |\n", kind.as_str(), labels(family))
}

fn own_row(family: &self_metrics::Family) -> String {
    let self_metrics::Family { name, help, kind, label } = family;
    let kind = kind.as_str();
    let label = label.map(|(name, values)| format!("{name} = {values}")).unwrap_or_default();
    format!("| `{name}` | {kind} | {label} | {help} |\n")
}

/// All dialects, with whatever differs from what is measured.
fn dialects() -> String {
    let mut table = "| dialect | metric | type | labels |\n|---|---|---|---|\n".to_owned();
    for (dialect, _) in BUILT_IN {
        for family in &built_in(dialect).families {
            let (name, kind, labels) = (&family.name, family.kind.as_str(), labels(family));
            writeln!(table, "| `{dialect}` | `{name}`{} | {kind} | {labels} |", limits(family)).unwrap();
        }
    }
    table
}

fn limits(family: &Family) -> String {
    let mut text = String::new();
    if !family.only.is_empty() && !family.has(Dimension::ErrorType) {
        let only: Vec<&str> = family.only.iter().map(|status| status.as_str()).collect();
        write!(text, ", {} only", only.join(" and ")).unwrap();
    }
    if !family.templates.is_empty() {
        let templates: Vec<String> = family.templates.iter().map(|text| format!("`{text}`")).collect();
        write!(text, ", calls to {}", templates.join(" and ")).unwrap();
    }
    if !family.values.is_empty() {
        write!(text, ", {} only", family.values.join(" and ")).unwrap();
    }
    if let Some(bounds) = &family.bounds {
        let bounds: Vec<String> = bounds.iter().map(|bound| (*bound as f64 / 1e9).to_string()).collect();
        write!(text, ", bounds {}", bounds.join(" ")).unwrap();
    }
    text
}

fn labels(family: &Family) -> String {
    let shown = |label: &Label| {
        let Label { name, value, text, .. } = label;
        let values: Vec<&str> = match (value, family.measure) {
            (Dimension::Status, Measure::Calls | Measure::Distribution(_)) => {
                value.values().into_iter().filter(|value| is_shown(family, value)).collect()
            }
            (Dimension::Fixed, _) => return format!("{name} = {text}"),
            (value, measure) if Some(*value) == measure.body_dimension() => measure.body_values(),
            _ => Vec::new(),
        };
        let renamed = values.into_iter().map(|value| label.renamed(value)).filter(|value| !value.is_empty());
        let mut values: Vec<&str> = Vec::new();
        // A dialect may merge values.
        renamed.for_each(|value| {
            if !values.contains(&value) {
                values.push(value);
            }
        });
        match (values.is_empty(), name == value.as_str()) {
            (false, _) => format!("{name} = {}", values.join(", ")),
            (true, true) => name.clone(),
            (true, false) => format!("{name} ({})", value.as_str().replace('_', " ")),
        }
    };
    family.labels.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn is_shown(family: &Family, status: &str) -> bool {
    family.only.is_empty() || family.only.iter().any(|only| only.as_str() == status)
}

fn built_in(name: &str) -> Dialect {
    Dialect::built_in(name).unwrap().unwrap()
}

#[track_caller]
fn check_section(file: &str, name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let marker = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&marker).expect(name);
    let (found, after) = rest.split_once("<!-- /generated -->").expect(name);
    if std::env::var_os("SCORETAP_GENERATE").is_some() {
        std::fs::write(&path, format!("{before}{marker}{expected}<!-- /generated -->{after}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "docs/{file}, section {name}: `cargo xtask generate` writes it");
}

#[test]
fn tables_of_metrics_are_current() {
    check_section("metrics.md", "families", &families());
    check_section("metrics.md", "insight", &insight());
    check_section("dialects.md", "dialects", &dialects());
}

#[test]
fn table_has_every_family() {
    let count: usize = BUILT_IN.iter().map(|(dialect, _)| built_in(dialect).families.len()).sum();
    assert_eq!(dialects().lines().count(), 2 + count, "{}", dialects());
    assert_eq!(
        families().lines().count() + insight().lines().count(),
        4 + built_in("prediction").families.len() + self_metrics::FAMILIES.len()
    );
}
