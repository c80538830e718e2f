//! Merges dialects into one exposition. Families of the same name must be equal.

use crate::{Dialect, Family, Kind, Unit};

/// The families of all dialects, each once, or all conflicting names.
pub fn merge(dialects: &[Dialect]) -> Result<Vec<Family>, Vec<String>> {
    let mut merged: Vec<(&str, &Family)> = Vec::new();
    let mut faults = Vec::new();
    for dialect in dialects {
        for family in &dialect.families {
            let clash = merged.iter().find(|(_, other)| clashes(family, other));
            match clash {
                None => merged.push((&dialect.name, family)),
                Some((_, other)) if is_same(family, other) => {}
                Some((of, other)) => faults.push(format!(
                    "--dialect: {} of {:?} is {}, and {} of {of:?} is {}: an exposition can hold one of them; \
                     serve one of the two dialects, or each from an exporter of its own",
                    family.name,
                    dialect.name,
                    described(family),
                    other.name,
                    described(other)
                )),
            }
        }
    }
    if faults.is_empty() {
        Ok(merged.into_iter().map(|(_, family)| family.clone()).collect())
    } else {
        Err(faults)
    }
}

/// Two families are equal even if their help texts differ.
fn is_same(one: &Family, other: &Family) -> bool {
    let Family { name, help: _, measure, kind, unit, only, templates, values, bounds, labels } = one;
    (name, measure, kind, unit, only, templates, values, bounds, labels)
        == (
            &other.name,
            &other.measure,
            &other.kind,
            &other.unit,
            &other.only,
            &other.templates,
            &other.values,
            &other.bounds,
            &other.labels,
        )
}

/// Whether two families share the name of a sample or a heading.
fn clashes(one: &Family, other: &Family) -> bool {
    let names = sample_names(other);
    sample_names(one).iter().any(|name| names.contains(name))
}

/// The names of a family's samples and headings. No other family can have one of them.
pub fn sample_names(family: &Family) -> Vec<String> {
    let name = &family.name;
    let with = |suffixes: &[&str]| suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect();
    // In OpenMetrics a heading has no suffix.
    let without = |suffix: &str| vec![name.clone(), name.strip_suffix(suffix).unwrap_or(name).to_owned()];
    match family.kind {
        Kind::Histogram => with(&["", "_bucket", "_sum", "_count"]),
        Kind::Summary => with(&["", "_sum", "_count"]),
        Kind::Gauge => with(&[""]),
        Kind::Counter => without("_total"),
        Kind::Info => without("_info"),
    }
}

fn described(family: &Family) -> String {
    let Family { name: _, help: _, measure, kind, unit, only, templates, values, bounds, labels } = family;
    let article = if *kind == Kind::Info { "an" } else { "a" };
    let mut text = format!("{article} {} of {}", kind.as_str(), measure.as_str());
    if *unit != Unit::Seconds {
        text.push_str(&format!(" in {}", unit.as_str()));
    }
    if !only.is_empty() {
        let only: Vec<&str> = only.iter().map(|status| status.as_str()).collect();
        text.push_str(&format!(" ({} only)", only.join(", ")));
    }
    if !templates.is_empty() {
        text.push_str(&format!(" (calls to {} only)", templates.join(", ")));
    }
    if !values.is_empty() {
        text.push_str(&format!(" ({} only)", values.join(", ")));
    }
    let labels: Vec<String> =
        labels.iter().map(|label| format!("{}={}", label.name, label.value.as_str())).collect();
    text.push_str(&format!(" by {{{}}}", labels.join(", ")));
    if bounds.is_some() {
        text.push_str(" with bounds of its own");
    }
    text
}
