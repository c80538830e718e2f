//! A baseline file: the distribution of predictions when the model was right, to compare later ones with.

use std::path::Path;

use scoretap_dialect::bodies::BodyHistogram;
use scoretap_yaml::{Faults, Field, Table};

use crate::reading::identity::Identity;
use crate::render::encode::bound_text;

/// More cells and classes would cost Prometheus too many series.
const MOST_COUNTS: usize = 500;

/// Each entry costs one more series for each bound of a cell.
const MOST_MODELS: usize = 20;

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The number of predictions in each cell and class.
    pub counts: Vec<BaselineCount>,
    /// The share of the numbers up to each bound of a cell.
    pub ratios: Vec<BaselineRatio>,
}

/// The share of numbers that are at most the bound of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineRatio {
    /// The model's name.
    pub model: String,
    /// The route's name.
    pub route: String,
    /// The label `bin` of the cell.
    pub cell: String,
    /// From 0 to 1.
    pub ratio: f64,
}

/// A count of predictions in one cell of numbers or of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineCount {
    /// The model's name.
    pub model: String,
    /// The route's name.
    pub route: String,
    /// Numbers or classes.
    pub of: Predictions,
    /// The label `bin` of the cell, or the class.
    pub cell: String,
    /// How many predictions there were.
    pub count: f64,
}

/// Numbers or classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predictions {
    /// Numbers, by cell.
    Value,
    /// Classes.
    Class,
}

impl Predictions {
    const ALL: [Self; 2] = [Self::Value, Self::Class];

    /// The value of the label `of`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Class => "class",
        }
    }

    /// The key in the file.
    const fn key(self) -> &'static str {
        match self {
            Self::Value => "values",
            Self::Class => "classes",
        }
    }
}

/// Reads the file, or reports every fault in it. `origin` begins each fault.
pub(crate) fn read(origin: &str, path: &Path, identity: &Identity) -> Result<Baseline, Vec<String>> {
    let file = format!("{origin}{}", path.display());
    let text = std::fs::read_to_string(path).map_err(|cause| {
        vec![format!(
            "{file}: cannot be read: {cause}; give the path of a file that `scoretap baseline make` wrote"
        )]
    })?;
    parse(&file, &text, identity)
}

fn parse(file: &str, text: &str, identity: &Identity) -> Result<Baseline, Vec<String>> {
    let mut faults = Faults::new(file);
    let baseline = document(text, identity, &mut faults);
    faults.conclude(baseline)
}

fn document(text: &str, identity: &Identity, faults: &mut Faults<'_>) -> Option<Baseline> {
    let value = faults.parse(text)?;
    let table = faults.table(&Field { at: String::new(), value: &value }, &["models"])?;
    let models = table.required("models", faults)?;
    let Baseline { mut counts, mut ratios } = Baseline::default();
    let entries = faults.items(&models);
    if entries.len() > MOST_MODELS {
        faults.add(&models.at, format!("has {} entries; keep at most {MOST_MODELS}", entries.len()));
    }
    for field in entries {
        let Some(table) = faults.table(&field, &["model_name", "route", "values", "classes"]) else {
            continue;
        };
        let of_model = model(&table, identity, faults).unwrap_or_default();
        let is_known = |one: &BaselineCount| {
            counts.iter().any(|known| (&known.model, &known.route) == (&one.model, &one.route))
        };
        if of_model.iter().any(is_known) {
            faults.add(&field.at, "has the model and route of an entry before; write one entry for both");
        }
        ratios.extend(self::ratios(&of_model));
        counts.extend(of_model);
    }
    if counts.len() > MOST_COUNTS {
        faults.add(&models.at, format!("has {} counts; keep at most {MOST_COUNTS}", counts.len()));
    }
    Some(Baseline { counts, ratios })
}

/// The shares of one entry's numbers, from the lowest bound. The highest cell has none.
fn ratios(counts: &[BaselineCount]) -> Vec<BaselineRatio> {
    let numbers = || counts.iter().filter(|count| count.of == Predictions::Value);
    let total: f64 = numbers().map(|count| count.count).sum();
    let Some(BaselineCount { model, route, .. }) = numbers().next().filter(|_| total > 0.0) else {
        return Vec::new();
    };
    let mut below = 0.0;
    let bounds = BodyHistogram::Value.bounds().into_iter().map(bound_text);
    let ratio = |cell: String| {
        below += numbers().filter(|count| count.cell == cell).map(|count| count.count).sum::<f64>();
        BaselineRatio { model: model.clone(), route: route.clone(), cell, ratio: below / total }
    };
    bounds.map(ratio).collect()
}

fn model(table: &Table<'_>, identity: &Identity, faults: &mut Faults<'_>) -> Option<Vec<BaselineCount>> {
    let own = || Some(identity.own().0.to_owned());
    let model = table.get("model_name").map_or_else(own, |field| faults.text(&field).map(str::to_owned));
    let route = table.required("route", faults).and_then(|field| faults.text(&field));
    let mut counts = Vec::new();
    for of in Predictions::ALL {
        let pairs = table.get(of.key()).map(|field| faults.pairs(&field)).unwrap_or_default();
        counts.extend(
            pairs
                .into_iter()
                .map(|(cell, field)| Some((of, named(of, cell, &field, faults)?, count(&field, faults)?))),
        );
    }
    if counts.is_empty() {
        faults.add(table.at().trim_end_matches('.'), "counts nothing; add `values: …` or `classes: …`");
    }
    let (model, route) = (model?, route?);
    counts
        .into_iter()
        .map(|count| {
            let (of, cell, count) = count?;
            Some(BaselineCount { model: model.clone(), route: route.to_owned(), of, cell, count })
        })
        .collect()
}

/// The label of a cell. The file may write its bound in any way, as `1` or `1.0`.
fn named(of: Predictions, cell: &str, field: &Field<'_>, faults: &mut Faults<'_>) -> Option<String> {
    if of == Predictions::Class {
        return Some(cell.to_owned());
    }
    let bound = cell.parse::<f64>().ok();
    let bounds = BodyHistogram::Value.bounds();
    let found = bound.filter(|bound| *bound == f64::INFINITY || bounds.contains(bound));
    if found.is_none() {
        faults.add(
            &field.at,
            "is no cell; write the upper bound of one, as in the label `bin` of prediction_value_cells_total",
        );
    }
    found.map(bound_text)
}

fn count(field: &Field<'_>, faults: &mut Faults<'_>) -> Option<f64> {
    let count = field.value.as_f64().filter(|count| count.is_finite() && *count >= 0.0);
    if count.is_none() {
        faults.expected(field, "a number of predictions");
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Identity {
        Identity { model: Some("churn".to_owned()), ..Identity::default() }
    }

    #[test]
    fn cells_get_the_labels_of_the_counters() {
        let text = "models: [{route: score, values: {'1': 2, '+Inf': 3.5}, classes: {'yes': 4}}]";
        let Baseline { counts, ratios } = parse("file", text, &pod()).unwrap();
        let found: Vec<_> =
            counts.iter().map(|one| (one.of.as_str(), one.cell.as_str(), one.count)).collect();
        assert_eq!(found, [("value", "1.0", 2.0), ("value", "+Inf", 3.5), ("class", "yes", 4.0)]);
        assert!(counts.iter().all(|one| (one.model.as_str(), one.route.as_str()) == ("churn", "score")));
        let ratios: Vec<_> = ratios.iter().map(|one| (one.cell.as_str(), one.ratio)).collect();
        assert_eq!(ratios.len(), BodyHistogram::Value.bounds().len());
        assert!(ratios.contains(&("0.9", 0.0)) && ratios.contains(&("1.0", 2.0 / 5.5)), "{ratios:?}");
        assert_eq!(ratios.last(), Some(&("1e+06", 2.0 / 5.5)));
    }

    #[test]
    fn entry_without_numbers_has_no_ratios() {
        for text in ["classes: {a: 1}", "values: {'1': 0}"] {
            let baseline = parse("file", &format!("models: [{{route: a, {text}}}]"), &pod()).unwrap();
            assert_eq!((baseline.counts.len(), baseline.ratios), (1, vec![]), "{text}");
        }
    }

    #[track_caller]
    fn check_fault(text: &str, expected: &str) {
        let faults = parse("file", text, &pod()).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{faults:?}");
    }

    #[test]
    fn faults_name_their_place() {
        check_fault("models: [{route: score, values: {'1.1': 2}}]", "file: models[0].values.1.1: is no cell");
        check_fault("models: [{route: score, classes: {a: -1}}]", "file: models[0].classes.a: found -1");
        check_fault("models: [{route: score, classes: {a: .inf}}]", "models[0].classes.a");
        check_fault("models: [{classes: {a: 1}}]", "file: models[0]: has no route");
        check_fault("models: [{route: score}]", "file: models[0]: counts nothing");
        check_fault(
            "models: [{route: a, classes: {a: 1}}, {route: a, values: {'1': 1}}]",
            "models[1]: has the model",
        );
        check_fault("[]", "write a mapping with the keys models");
        let classes: Vec<String> = (0..501).map(|class| format!("c{class}: 1")).collect();
        check_fault(
            &format!("models: [{{route: a, classes: {{{}}}}}]", classes.join(", ")),
            "keep at most 500",
        );
        let entries: Vec<String> =
            (0..21).map(|route| format!("{{route: r{route}, classes: {{a: 1}}}}")).collect();
        check_fault(&format!("models: [{}]", entries.join(", ")), "models: has 21 entries; keep at most 20");
    }
}
