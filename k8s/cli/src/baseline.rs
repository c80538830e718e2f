//! `scoretap baseline`: the distribution of predictions when the model was right, to compare later ones with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use scoretap_core::config::Insight;
use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::cells::{VALUE_BOUNDS, VALUE_CELLS};
use scoretap_scan::record::Rows;
use serde_norway::{Mapping, Value};

use crate::text::clean;
use crate::top::exposition::{self, Series};
use crate::{Status, console, usage};

/// The class of predictions beyond these.
const OTHER: &str = "other";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a baseline from predictions in a CSV file, or from what exporters have counted so far
    #[command(after_help = MAKE_HELP)]
    Make(Make),
}

const MAKE_HELP: &str = "\
The exporter serves the baseline with --baseline. The drift rules then compare with it instead of the week before.

Examples:
  scoretap baseline make validation.csv --column prediction --route score --output baseline.yaml
  kubectl exec POD -c scoretap-exporter -- /scoretap-exporter scrape | scoretap baseline make - --output baseline.yaml

Exit status:
  0  the baseline was made
  2  wrong usage
  3  an input could not be read, or the baseline could not be written";

#[derive(Debug, clap::Args)]
struct Make {
    /// CSV files with a heading, or expositions of exporters; - for standard input
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// Column of the CSV files that has the predictions; without it, FROM are expositions
    #[arg(long, value_name = "NAME", requires = "route")]
    column: Option<String>,
    /// Route of the predictions in a CSV file
    #[arg(long, value_name = "NAME", requires = "column")]
    route: Option<String>,
    /// Model of the predictions in a CSV file [default: the exporter's MODEL_NAME]
    #[arg(long, value_name = "NAME", requires = "column")]
    model: Option<String>,
    /// Where to write the baseline [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Models and routes, with their predictions. A model without a name is the pod's own.
type Baseline = BTreeMap<(Option<String>, String), Counts>;

/// The predictions of one model on one route.
#[derive(Debug, Default)]
struct Counts {
    /// Numbers by cell.
    values: BTreeMap<usize, f64>,
    classes: BTreeMap<String, f64>,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let Command::Make(args) = &args.command;
    let mut baseline = Baseline::new();
    for path in &args.from {
        let name =
            if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let input: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).with_context(|| format!("cannot read {name}"))?)
        };
        match (&args.column, &args.route) {
            (Some(column), Some(route)) => {
                let counts = baseline.entry((args.model.clone(), route.clone())).or_default();
                csv(input, column, counts).with_context(|| name.clone())?;
            }
            _ => counted(input, &mut baseline).with_context(|| name.clone())?,
        }
    }
    let text = written(&baseline)?;
    match &args.output {
        Some(file) => fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => console::print(&text)?,
    }
    for ((model, route), Counts { values, classes }) in &baseline {
        let model = model.as_deref().unwrap_or("of the pod");
        console::note(&format!(
            "model {}, route {}: {} numbers in {} cells, {} predictions of {} classes",
            clean(model),
            clean(route),
            total(values.values()),
            values.len(),
            total(classes.values()),
            classes.len()
        ));
    }
    Ok(Status::Well)
}

/// The sum; of nothing it is 0, where that of the standard library is -0.
fn total<'a>(counts: impl Iterator<Item = &'a f64>) -> f64 {
    counts.fold(0.0, |sum, count| sum + count)
}

/// Counts the predictions in a column as the filter counts them in answers.
fn csv(input: impl Read, column: &str, counts: &mut Counts) -> Result<()> {
    let mut reader = csv::Reader::from_reader(input);
    let headings = reader.headers()?.clone();
    let Some(position) = headings.iter().position(|heading| heading == column) else {
        let headings: Vec<&str> = headings.iter().take(20).collect();
        return Err(usage(format!("has no column {column:?}; --column is one of {}", headings.join(", "))));
    };
    for row in reader.records() {
        let row = row?;
        let rows = scanned(row.get(position).unwrap_or_default());
        for (cell, count) in rows.cells {
            *counts.values.entry(usize::from(cell)).or_default() += f64::from(count);
        }
        for (class, count) in rows.classes {
            *counts.classes.entry(String::from_utf8_lossy(&class).into_owned()).or_default() +=
                f64::from(count);
        }
        if rows.other_classes > 0 {
            *counts.classes.entry(OTHER.to_owned()).or_default() += f64::from(rows.other_classes);
        }
    }
    if counts.values.is_empty() && counts.classes.is_empty() {
        bail!("the column {column:?} has neither numbers nor classes");
    }
    limit_classes(&mut counts.classes);
    Ok(())
}

/// Reads one prediction with the filter's own scanner.
fn scanned(field: &str) -> Rows {
    let field = field.trim();
    let prediction = match field.parse::<f64>() {
        Ok(number) if number.is_finite() => number.to_string(),
        Ok(_) => "NaN".to_owned(),
        Err(_) if field.is_empty() => "null".to_owned(),
        Err(_) if field.eq_ignore_ascii_case("true") => "true".to_owned(),
        Err(_) if field.eq_ignore_ascii_case("false") => "false".to_owned(),
        Err(_) => serde_json::Value::from(field).to_string(),
    };
    let body = format!("{{\"predictions\": [{prediction}]}}");
    let mut scanner = AnswerScanner::new(&About { most_bytes: body.len() as u64, ..About::default() });
    scanner.feed(body.as_bytes(), 0);
    scanner.finish().rows.unwrap_or_default()
}

/// Keeps the most frequent classes. The filter keeps the first that it sees.
fn limit_classes(classes: &mut BTreeMap<String, f64>) {
    let most = Insight::default().classes as usize;
    let mut names: Vec<String> = classes.keys().filter(|name| *name != OTHER).cloned().collect();
    names.sort_by(|one, other| classes[other].total_cmp(&classes[one]));
    for name in names.iter().skip(most) {
        let count = classes.remove(name).unwrap_or_default();
        *classes.entry(OTHER.to_owned()).or_default() += count;
    }
}

/// Adds the predictions that an exposition counts.
fn counted(mut input: impl Read, baseline: &mut Baseline) -> Result<()> {
    let mut text = String::new();
    input.read_to_string(&mut text)?;
    let mut is_empty = true;
    for Series { name, mut labels, value } in exposition::parse(&text) {
        let label = match name.as_str() {
            "prediction_value_cells_total" => "bin",
            "prediction_classes_total" => "class",
            _ => continue,
        };
        let (Some(cell), Some(route)) = (labels.remove(label), labels.remove("route")) else { continue };
        if value <= 0.0 {
            continue;
        }
        is_empty = false;
        let counts = baseline.entry((labels.remove("model_name"), route)).or_default();
        if label == "class" {
            *counts.classes.entry(cell).or_default() += value;
        } else {
            *counts.values.entry(cell_of(&cell)?).or_default() += value;
        }
    }
    if is_empty {
        bail!(
            "counts no predictions: no series of prediction_value_cells_total or prediction_classes_total is above 0; \
             is Insight on, and is the dialect `prediction` served? For a CSV file, give --column and --route"
        );
    }
    Ok(())
}

fn cell_of(bin: &str) -> Result<usize> {
    let bound: f64 = bin.parse().with_context(|| format!("the label bin={bin:?} is no number"))?;
    let cell = VALUE_BOUNDS.iter().position(|known| *known == bound);
    let cell = cell.or_else(|| (bound == f64::INFINITY).then_some(VALUE_CELLS - 1));
    cell.with_context(|| format!("the label bin={bin:?} is no cell of this version"))
}

fn written(baseline: &Baseline) -> Result<String> {
    let models = baseline.iter().map(|((model, route), Counts { values, classes })| {
        let bound = |cell: usize| VALUE_BOUNDS.get(cell).map_or_else(|| "+Inf".to_owned(), f64::to_string);
        let values = values.iter().map(|(cell, count)| (bound(*cell), *count));
        let classes = classes.iter().map(|(class, count)| (class.clone(), *count));
        let mut entry = Mapping::new();
        if let Some(model) = model {
            entry.insert("model_name".into(), model.as_str().into());
        }
        entry.insert("route".into(), route.as_str().into());
        for (key, counts) in [("values", mapping(values)), ("classes", mapping(classes))] {
            if !counts.is_empty() {
                entry.insert(key.into(), counts.into());
            }
        }
        Value::from(entry)
    });
    let document = Mapping::from_iter([(Value::from("models"), models.collect())]);
    let yaml = serde_norway::to_string(&document).context("cannot write the baseline as YAML")?;
    Ok(format!(
        "# Predictions of a time when the model was right: numbers by the upper bound of their cell, and classes.\n{yaml}"
    ))
}

fn mapping(counts: impl Iterator<Item = (String, f64)>) -> Mapping {
    counts.map(|(name, count)| (Value::from(name), Value::from(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_csv(text: &str, values: &[(f64, f64)], classes: &[(&str, f64)]) {
        let mut counts = Counts::default();
        csv(text.as_bytes(), "p", &mut counts).unwrap();
        let found: Vec<(f64, f64)> =
            counts.values.iter().map(|(cell, count)| (VALUE_BOUNDS[*cell], *count)).collect();
        assert_eq!(found, values);
        let found: Vec<(&str, f64)> =
            counts.classes.iter().map(|(class, count)| (class.as_str(), *count)).collect();
        assert_eq!(found, classes);
    }

    #[test]
    fn sum_of_nothing_is_shown_as_0() {
        assert_eq!(total([].iter()).to_string(), "0");
        assert_eq!(total([1.5, 2.0].iter()).to_string(), "3.5");
    }

    #[test]
    fn numbers_are_counted_by_cell() {
        check_csv("id,p\n1,0.25\n2, 0.3\n3,1e3\n4,\n5,NaN\n", &[(0.3, 2.0), (1000.0, 1.0)], &[]);
    }

    #[test]
    fn small_integers_and_texts_are_classes() {
        check_csv("p\n1\n1.0\n0\n", &[(0.0, 1.0), (1.0, 2.0)], &[("0", 1.0), ("1", 2.0)]);
        check_csv("p\nyes\n\"no\"\nyes\n", &[], &[("no", 1.0), ("yes", 2.0)]);
        check_csv("p\na text of more than thirty-two bytes\n", &[], &[("other", 1.0)]);
    }

    #[test]
    fn most_frequent_classes_are_kept() {
        let rows: String = (0..25).map(|class| format!("c{class}\n").repeat(1 + class)).collect();
        let mut counts = Counts::default();
        csv(format!("p\n{rows}").as_bytes(), "p", &mut counts).unwrap();
        assert_eq!(counts.classes.len(), 21);
        assert_eq!((counts.classes[OTHER], counts.classes["c24"]), (15.0, 25.0));
    }

    #[test]
    fn exposition_is_added_up_by_model_and_route() {
        let text = "\
            prediction_value_cells_total{model_name=\"m\",model_version=\"1\",route=\"r\",bin=\"0.1\"} 2\n\
            prediction_value_cells_total{model_name=\"m\",model_version=\"2\",route=\"r\",bin=\"0.1\"} 3\n\
            prediction_value_cells_total{model_name=\"m\",model_version=\"2\",route=\"r\",bin=\"0.2\"} 0\n\
            prediction_value_cells_total{model_name=\"m\",model_version=\"2\",route=\"r\",bin=\"+Inf\"} 1\n\
            prediction_classes_total{model_name=\"m\",model_version=\"2\",route=\"r\",class=\"yes\"} 4\n";
        let mut baseline = Baseline::new();
        counted(text.as_bytes(), &mut baseline).unwrap();
        let yaml = written(&baseline).unwrap();
        let expected = "\
            models:\n- model_name: m\n  route: r\n  values:\n    '0.1': 5.0\n    +Inf: 1.0\n  classes:\n    yes: 4.0\n";
        assert_eq!(yaml.split_once('\n').unwrap().1, expected);
    }

    #[track_caller]
    fn check_fault(result: Result<()>, expected: &str) {
        let fault = format!("{:#}", result.unwrap_err());
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn faults_say_what_to_do() {
        check_fault(csv("a,b\n1,2\n".as_bytes(), "p", &mut Counts::default()), "--column is one of a, b");
        check_fault(csv("p\n\n".as_bytes(), "p", &mut Counts::default()), "neither numbers nor classes");
        check_fault(csv("a,p\n1,2\n3\n".as_bytes(), "p", &mut Counts::default()), "line: 3");
        check_fault(counted("scoretap_up 1\n".as_bytes(), &mut Baseline::new()), "is Insight on");
        let text = "prediction_value_cells_total{route=\"r\",bin=\"0.15\"} 2\n";
        check_fault(counted(text.as_bytes(), &mut Baseline::new()), "no cell of this version");
    }
}
