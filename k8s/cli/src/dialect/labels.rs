//! Decides which dimension a family's label shows, by its name and by the values that it is compared with.

use std::collections::{BTreeMap, BTreeSet};

use scoretap_core::histogram::Histogram;
use scoretap_core::outcome::Status;
use scoretap_dialect::{Dimension, Family, Label, Measure};

use super::map;

/// The values that queries and expositions name for each label. Patterns are split at `|`.
pub(super) type Values = BTreeMap<String, BTreeSet<String>>;

/// The source of a label that is not a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The target, so the monitor sets it.
    Target,
    /// The environment variable `TENANT`.
    Tenant,
    /// One value for the whole app.
    Constant,
    /// Only the app.
    App,
}

pub(super) fn origin(label: &str) -> Origin {
    if map::TARGET.contains(&label) {
        Origin::Target
    } else if label == map::TENANT {
        Origin::Tenant
    } else if map::CONSTANT.contains(&label) {
        Origin::Constant
    } else {
        Origin::App
    }
}

/// Whether the values of a label are predicted classes.
pub(super) fn is_class(label: &str, values: &BTreeSet<String>) -> bool {
    let meanings = meanings(label);
    meanings.contains(&Dimension::Class)
        && !values.iter().any(|value| is_ending(value))
        && (meanings.first() == Some(&Dimension::Class) || !values.is_empty())
}

/// Whether a label tells how a call ended.
pub(super) fn is_ending_label(label: &str, values: &BTreeSet<String>) -> bool {
    let known =
        [Dimension::Code, Dimension::Status, Dimension::ErrorType, Dimension::Method, Dimension::Template];
    !is_class(label, values) && meanings(label).first().is_some_and(|first| known.contains(first))
}

/// Adds labels to a family; returns what the user may want to change.
pub(super) fn fill(family: &mut Family, values: &Values, dialect: &str) -> Vec<String> {
    let mut questions = Vec::new();
    let kept: BTreeSet<String> = family.labels.iter().map(|label| label.name.clone()).collect();
    // Labels whose values decide come first, so that `status` and `code` do not claim the same dimension.
    let mut names: Vec<&String> = values.keys().filter(|name| !kept.contains(*name)).collect();
    names.sort_by_key(|name| (values.get(*name).is_none_or(BTreeSet::is_empty), rank(name)));
    for name in names {
        let seen = values.get(name).cloned().unwrap_or_default();
        match origin(name) {
            Origin::Constant => constant(family, name, &seen, dialect, &mut questions),
            _ => {
                if let Some(label) = label(family, name, &seen, &mut questions) {
                    family.labels.push(label);
                }
            }
        }
    }
    questions
}

/// The position in the table, so that a family's labels have one order.
fn rank(name: &str) -> (usize, usize) {
    let place = |(row, (names, _)): (usize, &(&[&str], &[Dimension]))| {
        names.iter().position(|known| *known == name).map(|column| (row, column))
    };
    map::LABELS.iter().enumerate().find_map(place).unwrap_or((usize::MAX, 0))
}

fn constant(
    family: &mut Family,
    name: &str,
    seen: &BTreeSet<String>,
    dialect: &str,
    questions: &mut Vec<String>,
) {
    let literal: Vec<&String> = seen.iter().filter(|value| !value.is_empty() && is_literal(value)).collect();
    let text = match literal.as_slice() {
        [one] => (*one).clone(),
        // Several values belong to several apps. The exporter's --label gives each its own.
        [_, _, ..] => return,
        [] => {
            questions.push(format!("{name} has the name of the dialect; write the app's value"));
            dialect.to_owned()
        }
    };
    let label = Label {
        name: name.to_owned(),
        value: Dimension::Fixed,
        rename: Vec::new(),
        text,
        from_the_start: Vec::new(),
    };
    family.labels.push(label);
}

/// The dimension that a label of this name would show, if the family had it.
pub(super) fn suggestion(family: &Family, name: &str) -> Option<Dimension> {
    label(family, name, &BTreeSet::new(), &mut Vec::new()).map(|label| label.value)
}

fn label(family: &Family, name: &str, seen: &BTreeSet<String>, questions: &mut Vec<String>) -> Option<Label> {
    let is_free = |value: &Dimension| family.measure.dimensions().contains(value) && !family.has(*value);
    let fits = |value: &Dimension| {
        is_free(value) && (*value != Dimension::ErrorType || family.only == [Status::Failure])
    };
    let possible: Vec<Dimension> = meanings(name).into_iter().filter(fits).collect();
    let value = decide(family, name, &possible, seen, questions)?;
    let from_the_start = from_the_start(family, value);
    let rename = renames(name, value, seen);
    Some(Label { name: name.to_owned(), value, rename, text: String::new(), from_the_start })
}

/// Adds labels of another family, so that the series of both find each other.
pub(super) fn add(family: &mut Family, labels: Vec<Label>) {
    for mut label in labels {
        let is_known = family.labels.iter().any(|own| own.name == label.name)
            || label.value != Dimension::Fixed && family.has(label.value);
        let is_failure = family.only == [Status::Failure];
        let fits = family.measure.dimensions().contains(&label.value)
            && (label.value != Dimension::ErrorType || is_failure);
        if is_known || !fits {
            continue;
        }
        label.from_the_start = from_the_start(family, label.value);
        family.labels.push(label);
    }
}

/// Whether a label's name tells a dimension of calls, and not of what their bodies hold.
pub(super) fn is_of_calls(label: &str) -> bool {
    meanings(label).first().is_some_and(|value| !value.is_of_body() && !is_ambiguous(label))
}

/// Whether only values could tell if a label is the end of a call or a predicted class.
fn is_ambiguous(label: &str) -> bool {
    let meanings = meanings(label);
    meanings.contains(&Dimension::Status) && meanings.contains(&Dimension::Class)
}

/// The codes that have a series before their first call.
fn from_the_start(family: &Family, value: Dimension) -> Vec<u16> {
    if family.measure != Measure::Calls || !value.is_code() {
        return Vec::new();
    }
    match family.only.as_slice() {
        [] => vec![200, 500],
        [Status::Failure] => vec![500],
        _ => Vec::new(),
    }
}

/// Whether the name of a label tells a dimension.
pub(super) fn is_known(label: &str) -> bool {
    !meanings(label).is_empty()
}

fn meanings(label: &str) -> Vec<Dimension> {
    let lower = label.to_ascii_lowercase();
    let row = map::LABELS.iter().find(|(names, _)| names.contains(&lower.as_str()));
    let of_models = map::OF_MODELS.iter().filter(|(name, _)| *name == lower).map(|(_, value)| *value);
    row.map(|(_, values)| values.to_vec()).unwrap_or_default().into_iter().chain(of_models).collect()
}

fn decide(
    family: &Family,
    name: &str,
    possible: &[Dimension],
    seen: &BTreeSet<String>,
    questions: &mut Vec<String>,
) -> Option<Dimension> {
    let can = |value: Dimension| possible.contains(&value).then_some(value);
    let any = |test: fn(&str) -> bool| seen.iter().any(|value| test(value));
    if can(Dimension::Template).is_some() && can(Dimension::Route).is_some() {
        let is_name = |value: &str| !value.is_empty() && is_literal(value) && !value.contains('/');
        return if any(is_name) && !any(|value| value.contains('/')) {
            Some(Dimension::Route)
        } else {
            Some(Dimension::Template)
        };
    }
    if any(is_code_class) {
        return can(Dimension::CodeClass);
    }
    if any(is_code) {
        return can(Dimension::Code);
    }
    let is_success = meanings(name) == [Dimension::Status];
    if any(is_ending) || (any(is_bool) && (is_success || is_about_errors(name))) {
        return can(Dimension::Status);
    }
    let words: Vec<&String> = seen.iter().filter(|value| !value.is_empty()).collect();
    if words.is_empty() && can(Dimension::Status).is_some() && can(Dimension::Code).is_some() {
        let is_http = map::words(&family.name).iter().any(|word| word == "http" || word == "responses")
            || family.has(Dimension::Method)
            || family.has(Dimension::Template)
            || name.contains("code");
        let is_duration =
            family.measure == Measure::Distribution(Histogram::Duration) && !name.contains("code");
        let (value, other) = match is_http && !is_duration {
            true => (Dimension::Code, Dimension::Status),
            false => (Dimension::Status, Dimension::Code),
        };
        if !name.contains("code") {
            questions.push(format!(
                "no query tells the values of {name}; write `value: {}` if they are",
                other.as_str()
            ));
        }
        return Some(value);
    }
    if words.is_empty() {
        if is_ambiguous(name) && family.measure == Measure::Calls {
            questions.push(format!(
                "no query tells the values of {name}; it shows how calls ended. For predicted classes write `measure: \
                 classes` and `value: class`"
            ));
        }
        // The type of an error is no plain success or failure.
        let is_type = is_about_errors(name) && possible.first() == Some(&Dimension::Status);
        return possible.first().filter(|_| !is_type).copied();
    }
    // Words that are no ending: the type of a failure, a class, a model.
    let is_worded = |value: &&Dimension| !matches!(value, Dimension::Code | Dimension::CodeClass);
    possible.iter().find(is_worded).copied()
}

/// Spellings of a dimension's values.
fn renames(label: &str, value: Dimension, seen: &BTreeSet<String>) -> Vec<(String, String)> {
    let is_about_errors = is_about_errors(label);
    let spelled = |own: &str, spellings: &[&str]| {
        let is_spelling = |text: &&String| {
            spellings.contains(&text.to_ascii_lowercase().as_str()) && !(is_about_errors && is_bool(text))
        };
        let found = if seen.contains(own) { None } else { seen.iter().find(is_spelling) };
        found.map(|text| (own.to_owned(), text.clone()))
    };
    let bools = |own: &str, spellings: [&str; 3]| {
        let found = seen.iter().find(|text| spellings.contains(&text.to_ascii_lowercase().as_str()));
        found.map(|text| (own.to_owned(), text.clone()))
    };
    match value {
        Dimension::Status if is_about_errors && seen.iter().any(|text| is_bool(text)) => {
            let pairs = [bools("success", ["false", "0", "no"]), bools("failure", ["true", "1", "yes"])];
            pairs.into_iter().flatten().collect()
        }
        Dimension::Status => [
            spelled("success", &map::SUCCESS_VALUES),
            spelled("failure", &map::FAILURE_VALUES),
            spelled("cancelled", &map::CANCELLED_VALUES),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Dimension::ErrorType => {
            map::ERROR_VALUES.iter().filter_map(|(own, list)| spelled(own, list)).collect()
        }
        Dimension::TokenType => {
            map::TOKEN_VALUES.iter().filter_map(|(own, list)| spelled(own, list)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a value is text rather than a pattern.
pub(super) fn is_literal(value: &str) -> bool {
    regex::escape(value).replace('\\', "") == value
        && !value.contains(['*', '+', '[', '(', '^', '$', '|', '?', '\\'])
        && !value.contains(super::model::ANY)
        && !value.ends_with("..")
}

fn is_code_class(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    lower.len() == 3 && lower.ends_with("xx") && lower.starts_with(|first: char| first.is_ascii_digit())
}

/// A code such as `200`, or a pattern of codes such as `5..`, `[45]..` and `5\d{2}`.
fn is_code(value: &str) -> bool {
    let is_whole = value.len() == 3 && value.bytes().all(|byte| byte.is_ascii_digit());
    let pattern = |char: char| char.is_ascii_digit() || ".[]*+\\d{}^-x$()".contains(char);
    let has_digit = value.chars().any(|char| ('1'..='5').contains(&char));
    let is_pattern =
        value.len() > 1 && has_digit && value.chars().all(pattern) && value.contains(['.', '[', '\\', '*']);
    is_whole || is_pattern
}

/// Whether a value tells how a call ended. `true` and `1` do so only in a label that is about success or errors.
fn is_ending(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    if is_bool(value) {
        return false;
    }
    let words = [&map::SUCCESS_VALUES[..8], &map::FAILURE_VALUES[..9], &map::CANCELLED_VALUES[..]];
    words.iter().any(|list| list.contains(&lower.as_str()))
}

fn is_bool(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0" | "yes" | "no")
}

/// Whether a label's `true` is a failure.
fn is_about_errors(label: &str) -> bool {
    meanings(label).first() == Some(&Dimension::ErrorType)
}

/// The alternatives of a pattern, without anchors and groups.
pub(super) fn alternatives(pattern: &str) -> Vec<String> {
    let trimmed =
        pattern.trim_start_matches(['^', '(']).trim_start_matches("?:").trim_end_matches(['$', ')']);
    if trimmed.contains(['(', ')']) {
        return vec![pattern.to_owned()];
    }
    trimmed.split('|').map(|part| part.replace("\\.", ".").replace("\\/", "/")).collect()
}
