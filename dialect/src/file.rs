//! Parses a dialect's YAML file into a valid [`Dialect`], or reports all its faults.

use scoretap_core::histogram::{LONGEST_BOUND_SECONDS, MOST_BOUNDS, time_bound};
use scoretap_core::outcome::Status;
use scoretap_core::route::Template;
use scoretap_yaml::{Faults, Field, Table};

use crate::names::{is_label, is_name};
use crate::{Dialect, Dimension, Family, Kind, Label, Measure, Unit};

const KEYS: [&str; 3] = ["dialect", "about", "families"];
const FAMILY_KEYS: [&str; 10] =
    ["name", "help", "measure", "type", "unit", "only", "templates", "values", "bounds_seconds", "labels"];
const LABEL_KEYS: [&str; 5] = ["name", "value", "rename", "from_the_start", "text"];

/// The prefix of Scoretap's own metrics, which a dialect cannot use.
const RESERVED: &str = "scoretap_";

pub(crate) fn parse(file: &str, text: &str) -> Result<Dialect, Vec<String>> {
    let mut faults = Faults::new(file);
    let dialect = document(text, &mut faults);
    faults.conclude(dialect)
}

fn document(text: &str, faults: &mut Faults<'_>) -> Option<Dialect> {
    let value = faults.parse(text)?;
    let table = faults.table(&Field { at: String::new(), value: &value }, &KEYS)?;
    let name = required_text(&table, "dialect", faults);
    let about = table.get("about").and_then(|field| faults.text(&field)).unwrap_or_default().to_owned();
    let list = table.required("families", faults)?;
    let families: Vec<Option<Family>> =
        faults.items(&list).iter().map(|field| family(field, faults)).collect();
    if families.is_empty() {
        faults.add(&list.at, "is empty; give at least one family");
    }
    Some(Dialect { name: name?, about, families: families.into_iter().collect::<Option<_>>()? })
}

fn family(field: &Field<'_>, faults: &mut Faults<'_>) -> Option<Family> {
    let table = faults.table(field, &FAMILY_KEYS)?;
    let measure = table.required("measure", faults);
    let measure = measure.and_then(|field| faults.choice(&field, &Measure::all(), Measure::as_str));
    let kind = table.get("type").zip(measure).map(|(field, measure)| kind(&field, measure, faults));
    let kind = kind.unwrap_or_else(|| measure?.kinds().first().copied());
    let name = family_name(&table, kind, faults);
    let help = required_text(&table, "help", faults);
    let only = table.get("only").map(|field| only(&field, faults)).unwrap_or_default();
    let (measure, kind) = (measure?, kind?);
    let templates =
        table.get("templates").map(|field| templates(&field, measure, faults)).unwrap_or_default();
    let unit = table.get("unit").and_then(|field| unit(&field, measure, faults)).unwrap_or_default();
    let values = table.get("values").map(|field| values(&field, measure, faults)).unwrap_or_default();
    let bounds = table.get("bounds_seconds").and_then(|field| bounds(&field, measure, kind, faults));
    let labels = table.get("labels").map(|field| faults.items(&field)).unwrap_or_default();
    let labels: Vec<Option<Label>> = labels.iter().map(|field| label(field, measure, faults)).collect();
    let labels: Vec<Label> = labels.into_iter().collect::<Option<_>>()?;
    once_each(field, &labels, faults);
    if labels.iter().any(|label| label.value == Dimension::ErrorType) && only != [Status::Failure] {
        faults.add(
            &field.at,
            "has a label of error_type, which only failures have, and is not of these alone; add `only: [failure]`",
        );
    }
    if !only.is_empty() && !matches!(measure, Measure::Calls | Measure::Distribution(_)) {
        faults.add(&field.at, "has `only`, which chooses calls by how they ended; leave it out here");
    }
    Some(Family { name: name?, help: help?, measure, kind, unit, only, templates, values, bounds, labels })
}

fn required_text(table: &Table<'_>, key: &str, faults: &mut Faults<'_>) -> Option<String> {
    let field = table.required(key, faults)?;
    faults.text(&field).map(str::to_owned)
}

fn family_name(table: &Table<'_>, kind: Option<Kind>, faults: &mut Faults<'_>) -> Option<String> {
    let field = table.required("name", faults)?;
    let name = faults.text(&field)?;
    if !is_name(name) {
        faults.expected(&field, "letters, digits, \"_\" and \":\", not starting with a digit");
        return None;
    }
    if name.starts_with(RESERVED) {
        faults
            .expected(&field, &format!("a name that does not begin with {RESERVED:?}, as Scoretap's own do"));
        return None;
    }
    if kind == Some(Kind::Info) && name.strip_suffix("_info").is_none_or(str::is_empty) {
        faults.expected(&field, "a name that ends with \"_info\", or `type: gauge`");
        return None;
    }
    Some(name.to_owned())
}

fn kind(field: &Field<'_>, measure: Measure, faults: &mut Faults<'_>) -> Option<Kind> {
    faults.choice(field, measure.kinds(), Kind::as_str)
}

fn unit(field: &Field<'_>, measure: Measure, faults: &mut Faults<'_>) -> Option<Unit> {
    if !measure.is_time() {
        faults.add(&field.at, "only a time has a unit to choose; leave it out");
        return None;
    }
    faults.choice(field, &Unit::ALL, Unit::as_str)
}

fn only(field: &Field<'_>, faults: &mut Faults<'_>) -> Vec<Status> {
    let items = faults.items(field);
    let mut chosen: Vec<Status> =
        items.iter().filter_map(|item| faults.choice(item, &Status::ALL, Status::as_str)).collect();
    if items.is_empty() {
        faults.add(&field.at, "is empty; name at least one status, or leave it out for all");
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The templates of the routes to count.
fn templates(field: &Field<'_>, measure: Measure, faults: &mut Faults<'_>) -> Vec<String> {
    if !measure.dimensions().contains(&Dimension::Template) {
        faults.add(&field.at, "this measure is not counted by template; leave them out");
        return Vec::new();
    }
    let items = faults.items(field);
    if items.is_empty() {
        faults.add(&field.at, "is empty; name at least one template, or leave it out for all routes");
    }
    let mut templates = Vec::new();
    for item in &items {
        let Some(text) = faults.text(item) else { continue };
        match Template::parse(text) {
            Ok(_) => templates.push(text.to_owned()),
            Err(fault) => faults.add(&item.at, &fault),
        }
    }
    templates
}

/// The values to count, of the label that only this measure has.
fn values(field: &Field<'_>, measure: Measure, faults: &mut Faults<'_>) -> Vec<String> {
    let known = measure.body_values();
    let items = faults.items(field);
    if known.is_empty() {
        faults.add(&field.at, "this measure has no values to choose from; leave them out");
        return Vec::new();
    }
    if items.is_empty() {
        faults.add(&field.at, "is empty; name at least one value, or leave it out for all");
    }
    let chosen: Vec<&str> =
        items.iter().filter_map(|item| faults.choice(item, &known, |value| value)).collect();
    chosen.into_iter().map(str::to_owned).collect()
}

fn bounds(field: &Field<'_>, measure: Measure, kind: Kind, faults: &mut Faults<'_>) -> Option<Vec<u64>> {
    if !measure.is_time() || kind != Kind::Histogram {
        faults.add(&field.at, "only the histogram of a time has these; leave them out");
        return None;
    }
    let items = faults.items(field);
    let mut bounds = Vec::new();
    for item in &items {
        match item.value.as_f64().and_then(time_bound) {
            Some(bound) if bounds.last().is_none_or(|last| *last < bound) => bounds.push(bound),
            Some(_) => faults.expected(item, "a bound that is greater than the one before it"),
            None => {
                let allowed =
                    format!("seconds above 0, at most {LONGEST_BOUND_SECONDS}, in whole nanoseconds");
                faults.expected(item, &allowed);
            }
        }
    }
    if items.is_empty() || items.len() > MOST_BOUNDS {
        faults.add(&field.at, format!("has {} bounds; write 1 to {MOST_BOUNDS}", items.len()));
    }
    Some(bounds)
}

fn label(field: &Field<'_>, measure: Measure, faults: &mut Faults<'_>) -> Option<Label> {
    let table = faults.table(field, &LABEL_KEYS)?;
    let name = table.required("name", faults).and_then(|field| label_name(&field, faults));
    let value = table.required("value", faults);
    let value = value.and_then(|field| faults.choice(&field, measure.dimensions(), Dimension::as_str))?;
    let rename = table.get("rename").map(|field| rename(&field, value, faults)).unwrap_or_default();
    let start = table.get("from_the_start").map(|field| codes(&field, value, faults)).unwrap_or_default();
    let text = text(&table, value, faults)?;
    Some(Label { name: name?, value, rename, from_the_start: start, text })
}

/// The text of a fixed label; no other label has one.
fn text(table: &Table<'_>, value: Dimension, faults: &mut Faults<'_>) -> Option<String> {
    if value == Dimension::Fixed {
        return required_text(table, "text", faults);
    }
    if let Some(field) = table.get("text") {
        faults.add(&field.at, "only a fixed label has a text; leave it out");
    }
    Some(String::new())
}

fn label_name(field: &Field<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let name = faults.text(field)?;
    if is_label(name) {
        return Some(name.to_owned());
    }
    faults.expected(
        field,
        "letters, digits and \"_\", not starting with a digit or \"__\", and not \"le\" or \"quantile\"",
    );
    None
}

fn rename(field: &Field<'_>, value: Dimension, faults: &mut Faults<'_>) -> Vec<(String, String)> {
    let known = value.values();
    let mut renamed = Vec::new();
    for (from, to) in faults.pairs(field) {
        let is_known = known.contains(&from) || (value == Dimension::Code && is_code_or_class(from));
        if !is_known {
            let allowed = match value {
                Dimension::Code => "a code such as \"200\" or a class such as 2xx".to_owned(),
                _ if known.is_empty() => "no renaming here".to_owned(),
                _ => known.join(", "),
            };
            faults.add(&to.at, format!("{} has no value {from:?}; write {allowed}", value.as_str()));
        } else if to.value.as_str() == Some("") {
            // Prometheus drops an empty label: OpenTelemetry's `error.type` is absent from a success.
            renamed.push((from.to_owned(), String::new()));
        } else if let Some(to) = faults.text(&to) {
            renamed.push((from.to_owned(), to.to_owned()));
        }
    }
    renamed
}

fn is_code_or_class(text: &str) -> bool {
    let is_code = text.parse::<u16>().is_ok_and(|code| code == 0 || (100..=599).contains(&code));
    (is_code && !text.starts_with('+')) || Dimension::CodeClass.values().contains(&text)
}

fn codes(field: &Field<'_>, value: Dimension, faults: &mut Faults<'_>) -> Vec<u16> {
    if !value.is_code() {
        faults.add(&field.at, "only a code can be named from the start; leave it out");
        return Vec::new();
    }
    let mut codes = Vec::new();
    for item in faults.items(field) {
        match item.value.as_u64().and_then(|code| u16::try_from(code).ok()) {
            Some(code @ 100..=599) if !codes.contains(&code) => codes.push(code),
            Some(100..=599) => faults.expected(&item, "each code once"),
            _ => faults.expected(&item, "an HTTP status from 100 to 599"),
        }
    }
    codes
}

fn once_each(field: &Field<'_>, labels: &[Label], faults: &mut Faults<'_>) {
    for (position, label) in labels.iter().enumerate() {
        let before = labels.get(..position).unwrap_or_default();
        if before.iter().any(|other| other.name == label.name) {
            faults.add(&field.at, format!("has the label {:?} twice; keep one of them", label.name));
        } else if label.value != Dimension::Fixed && before.iter().any(|other| other.value == label.value) {
            let held = label.value.as_str();
            faults.add(&field.at, format!("has two labels that hold {held}; keep one of them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a dialect with this family, without their place.
    fn faults(family: &str) -> Vec<String> {
        let text = format!("{{dialect: mine, families: [{{help: A., {family}}}]}}");
        let faults = Dialect::parse("mine.yaml", &text).err().unwrap_or_default();
        faults.iter().map(|fault| fault.replace("mine.yaml: families[0]", "")).collect()
    }

    #[track_caller]
    fn check(family: &str, expected: &[&str]) {
        assert_eq!(faults(family), expected, "{family}");
    }

    #[test]
    fn values_belong_to_the_measures_label() {
        check("name: a_total, measure: tokens, values: [input, cached]", &[]);
        check("name: a, measure: call_tokens, values: [output]", &[]);
        check(
            "name: a, measure: call_tokens, values: [cached]",
            &[".values[0]: found \"cached\"; write one of input, output"],
        );
        check(
            "name: a_total, measure: repeats, values: [input]",
            &[".values: this measure has no values to choose from; leave them out"],
        );
        check(
            "name: a_total, measure: usage, values: []",
            &[".values: is empty; name at least one value, or leave it out for all"],
        );
    }

    #[test]
    fn templates_belong_to_measures_of_calls() {
        check("name: a_total, measure: calls, templates: [/a, \"/b/{model}\"]", &[]);
        check("name: a_seconds, measure: duration, templates: [/a]", &[]);
        let left_out = ".templates: this measure is not counted by template; leave them out";
        check("name: a_total, measure: tokens, templates: [/a]", &[left_out]);
        check("name: a, measure: in_flight, templates: [/a]", &[left_out]);
        check(
            "name: a_total, measure: calls, templates: []",
            &[".templates: is empty; name at least one template, or leave it out for all routes"],
        );
        check(
            "name: a_total, measure: calls, templates: [score]",
            &[".templates[0]: \"score\" has no leading slash; write \"/score\""],
        );
    }

    #[test]
    fn only_fixed_labels_have_a_text() {
        check("name: a_total, measure: usage, labels: [{name: b, value: fixed, text: c}]", &[]);
        check(
            "name: a_total, measure: usage, labels: [{name: b, value: fixed}]",
            &[".labels[0]: has no text; add `text: …`"],
        );
        check(
            "name: a_total, measure: usage, labels: [{name: b, value: usage, text: c}]",
            &[".labels[0].text: only a fixed label has a text; leave it out"],
        );
    }

    #[test]
    fn bodies_have_no_status_and_no_endpoint() {
        let allowed = "found \"status\"; write one of fixed, model, version, route, token_type";
        check(
            "name: a_total, measure: tokens, only: [success], labels: [{name: b, value: status}]",
            &[&format!(".labels[0].value: {allowed}")],
        );
        check(
            "name: a_total, measure: tokens, only: [success]",
            &[": has `only`, which chooses calls by how they ended; leave it out here"],
        );
    }

    #[test]
    fn only_times_of_bodies_have_bounds() {
        check("name: a_seconds, measure: time_to_first_token, bounds_seconds: [0.1, 1]", &[]);
        check(
            "name: a, measure: rows, bounds_seconds: [1]",
            &[".bounds_seconds: only the histogram of a time has these; leave them out"],
        );
    }

    #[test]
    fn types_and_units_belong_to_measures() {
        check("name: a, measure: calls", &[]);
        check("name: a, measure: duration, type: summary, unit: microseconds", &[]);
        check("name: a, measure: request_bytes, type: counter", &[]);
        check("name: a, measure: calls, type: gauge", &[".type: found \"gauge\"; write one of counter"]);
        check(
            "name: a, measure: request_bytes, unit: seconds",
            &[".unit: only a time has a unit to choose; leave it out"],
        );
        check(
            "name: a, measure: duration, type: summary, bounds_seconds: [1]",
            &[".bounds_seconds: only the histogram of a time has these; leave them out"],
        );
        check(
            "name: a, measure: models",
            &[".name: found \"a\"; write a name that ends with \"_info\", or `type: gauge`"],
        );
    }

    #[test]
    fn codes_are_renamed_singly_or_by_class() {
        let code = |rename: &str| {
            format!("name: a, measure: calls, labels: [{{name: b, value: code, rename: {rename}}}]")
        };
        check(&code("{\"200\": ok, 2xx: fine, \"0\": none}"), &[]);
        check(
            &code("{6xx: bad}"),
            &[
                ".labels[0].rename.6xx: code has no value \"6xx\"; write a code such as \"200\" or a class such as 2xx",
            ],
        );
        check(&code("{200: ok}"), &[".labels[0].rename.200: a name must be text; put it in quotes"]);
        check(
            "name: a, measure: calls, labels: [{name: b, value: code_class, rename: {\"200\": ok}}]",
            &[".labels[0].rename.200: code_class has no value \"200\"; write 1xx, 2xx, 3xx, 4xx, 5xx, 0"],
        );
    }

    #[test]
    fn code_takes_its_own_name_before_its_class() {
        let rename =
            [("404", "missing"), ("4xx", "error")].map(|(from, to)| (from.to_owned(), to.to_owned()));
        let label = Label {
            name: "b".to_owned(),
            value: Dimension::Code,
            rename: rename.to_vec(),
            text: String::new(),
            from_the_start: Vec::new(),
        };
        let names = [404, 422, 200].map(|code| label.renamed_code(code));
        assert_eq!(names, [Some("missing"), Some("error"), None]);
    }

    #[test]
    fn metrics_can_have_colons_and_labels_cannot() {
        check("name: \"vllm:a_total\", measure: calls", &[]);
        let allowed =
            "letters, digits and \"_\", not starting with a digit or \"__\", and not \"le\" or \"quantile\"";
        check(
            "name: a_total, measure: calls, labels: [{name: \"b:c\", value: model}]",
            &[&format!(".labels[0].name: found \"b:c\"; write {allowed}")],
        );
    }
}
