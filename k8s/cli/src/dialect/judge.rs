//! Judges one selector against the family that fills it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use regex::Regex;
use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, Histogram, SIZE_BOUNDS};
use scoretap_core::outcome::Status;
use scoretap_core::route::{PRESETS, Template};
use scoretap_dialect::bodies::BodyHistogram;
use scoretap_dialect::{Dimension, Family, Kind, Label, Measure};

use super::labels::{Origin, alternatives, is_known, is_literal, origin, suggestion};
use super::map;
use super::model::{ANY, Matcher, Needs, Op, Role, Use, Verdict};

/// The part of a family that a selector asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    Plain,
    Bucket,
    Sum,
    Count,
}

const METHODS: [&str; 7] = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The verdict, while what it depends on is added to `needs`.
pub(super) fn judge(used: &Use, series: Series, family: &Family, needs: &mut Needs) -> Verdict {
    let mut own = Needs::default();
    let mut judge = Judge { family, with: BTreeSet::new(), needs: &mut own };
    if let Err(why) = judge.series(used, series).and_then(|()| judge.labels(used)) {
        return Verdict::Empty(why);
    }
    let with: Vec<String> = judge.with.into_iter().collect();
    needs.add(own);
    if with.is_empty() { Verdict::Works } else { Verdict::WorksWith(with.join("; ")) }
}

struct Judge<'a> {
    family: &'a Family,
    with: BTreeSet<String>,
    needs: &'a mut Needs,
}

impl Judge<'_> {
    fn with(&mut self, what: impl Into<String>) {
        self.with.insert(what.into());
    }

    fn series(&mut self, used: &Use, series: Series) -> Result<(), String> {
        let name = &self.family.name;
        let is_native = used.role == Role::Native
            && self.family.kind == Kind::Histogram
            && self.family.measure == Measure::Distribution(Histogram::Duration);
        match (self.family.kind, series) {
            (Kind::Histogram, Series::Plain) if is_native && !self.family.is_by_code() => {
                self.with("`latency_resolution: native` in the filter, and native histograms in Prometheus");
            }
            (Kind::Histogram | Kind::Summary, Series::Plain) if used.role == Role::Quantile => {
                return Err(format!(
                    "a summary's quantile, which nobody can add up; write histogram_quantile(0.95, sum by (le) \
                     (rate({name}_bucket[5m])))"
                ));
            }
            (Kind::Histogram | Kind::Summary, Series::Plain) => {
                return Err(format!(
                    "{name} is a histogram; write {name}_count for calls or {name}_sum for their time"
                ));
            }
            (Kind::Summary, Series::Bucket) => {
                return Err(format!("{name} is a summary, which has no buckets"));
            }
            (Kind::Histogram, Series::Sum) if !self.has_sum() => {
                return Err("predictions have no sum, because Envoy's counters cannot be negative".to_owned());
            }
            (Kind::Histogram, Series::Count) if !self.has_sum() => {
                return Err(format!(
                    "OpenMetrics has no count of a histogram without a sum; write {name}_bucket{{le=\"+Inf\"}}"
                ));
            }
            (Kind::Counter | Kind::Gauge | Kind::Info, Series::Bucket | Series::Sum | Series::Count) => {
                return Err(format!("{name} is a {}, which has no such series", self.family.kind.as_str()));
            }
            _ => {}
        }
        self.measure();
        Ok(())
    }

    fn has_sum(&self) -> bool {
        !matches!(self.family.measure, Measure::BodyDistribution(histogram) if !histogram.has_sum())
    }

    /// Configuration that the measure itself needs.
    fn measure(&mut self) {
        match self.family.measure {
            Measure::Bodies(_) | Measure::BodyDistribution(_) | Measure::ValueCells => {
                self.needs.insight = true;
                self.with(if is_of_llm(self.family.measure) {
                    "Insight, and an LLM's answers that report it"
                } else {
                    "Insight, and answers that hold it"
                });
            }
            Measure::Distribution(Histogram::Duration) if self.family.is_by_code() => {
                self.needs.duration_codes = true;
                self.with("`duration_codes: true` in the filter");
            }
            Measure::Distribution(histogram) if histogram != Histogram::Duration => {
                self.needs.extra.insert(histogram.as_str());
                self.with(format!("{} in the filter's `extra`", histogram.as_str()));
            }
            Measure::Calls | Measure::Distribution(_) | Measure::InFlight | Measure::Models => {}
        }
    }

    fn labels(&mut self, used: &Use) -> Result<(), String> {
        let mut matchers: BTreeMap<&str, Vec<&Matcher>> = BTreeMap::new();
        for matcher in &used.matchers {
            matchers.entry(&matcher.label).or_default().push(matcher);
        }
        let empty = Vec::new();
        for label in &used.labels {
            matchers.entry(label).or_insert_with(|| empty.clone());
        }
        self.route(&matchers)?;
        for (name, matchers) in matchers {
            let label = self.family.labels.iter().find(|label| label.name == name);
            let grouped = used.labels.contains(name);
            match label {
                _ if name == "le" => self.bound(&matchers)?,
                Some(label)
                    if matches!(label.value, Dimension::Template | Dimension::Route | Dimension::Method) => {}
                Some(label) => self.value(label, &matchers)?,
                None => self.other(name, &matchers, grouped)?,
            }
        }
        Ok(())
    }

    fn bound(&mut self, matchers: &[&Matcher]) -> Result<(), String> {
        if matchers.is_empty() {
            return Ok(());
        }
        let shown = self.bounds();
        let is_time = self.family.measure.is_time();
        let scale = 1e9 / self.family.unit.nanoseconds();
        let missing = |bound: &f64| is_time && !is_default(*bound / scale) && self.is_filters();
        if accepts(matchers, "+Inf")
            || shown.iter().any(|bound| accepts(matchers, &written(*bound)) && !missing(bound))
        {
            return Ok(());
        }
        // Bounds that the filter does not have yet.
        if let Some(bound) = shown.iter().find(|bound| accepts(matchers, &written(**bound))) {
            let seconds = bound / scale;
            self.needs.bounds_seconds.push(seconds);
            self.with(format!("{seconds} in the filter's `bounds_seconds`"));
            return Ok(());
        }
        let wanted: Vec<&str> = matchers.iter().map(|matcher| matcher.value.as_str()).collect();
        let numbers = wanted.iter().filter_map(|text| text.parse::<f64>().ok());
        match numbers.map(written).find(|text| !wanted.contains(&text.as_str())) {
            Some(text) => Err(format!("Prometheus stores this bound as {text:?}; write le={text:?}")),
            None => Err(format!("no bucket has le {}", wanted.join(", "))),
        }
    }

    fn is_filters(&self) -> bool {
        matches!(self.family.measure, Measure::Distribution(_))
    }

    /// The bounds in the family's unit.
    fn bounds(&self) -> Vec<f64> {
        let family = self.family;
        let own = family.bounds.as_ref().map(|bounds| bounds.iter().map(|bound| float(*bound)).collect());
        let bounds: Vec<f64> = own.unwrap_or_else(|| match family.measure {
            Measure::Distribution(histogram) if histogram.is_time() => {
                DEFAULT_TIME_BOUNDS.iter().map(|bound| float(*bound)).collect()
            }
            Measure::Distribution(_) => SIZE_BOUNDS.iter().map(|bound| float(*bound)).collect(),
            Measure::BodyDistribution(histogram) => histogram.bounds(),
            _ => Vec::new(),
        });
        if !family.measure.is_time() {
            return bounds;
        }
        bounds.iter().map(|bound| bound / family.unit.nanoseconds()).collect()
    }

    fn value(&mut self, label: &Label, matchers: &[&Matcher]) -> Result<(), String> {
        let (name, what) = (&label.name, label.value.as_str());
        if let Some(candidates) = candidates(label, &self.family.only) {
            if candidates.iter().any(|value| accepts(matchers, value)) || matchers.is_empty() {
                return Ok(());
            }
            let mut known: Vec<&str> = candidates.iter().map(String::as_str).collect();
            known.dedup();
            known.truncate(12);
            return Err(format!(
                "{name} shows the {what}, which is {}; never {}",
                known.join(", "),
                asked(matchers)
            ));
        }
        let Some(value) = wanted(matchers)? else { return Ok(()) };
        let (variable, also) = match label.value {
            Dimension::Model => ("MODEL_NAME", ", or the model in the path"),
            Dimension::Version => ("MODEL_VERSION", ", or the version in the path"),
            Dimension::Deployment => ("DEPLOYMENT_NAME", ""),
            Dimension::Framework => ("MODEL_FRAMEWORK", ""),
            Dimension::Class => {
                self.with(format!("answers that hold {value:?} as a string"));
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.with(format!("{variable}={value} in the exporter's environment{also}"));
        self.needs.environment.insert(format!("{variable}={value}"));
        Ok(())
    }

    /// A label that the family does not have.
    fn other(&mut self, name: &str, matchers: &[&Matcher], grouped: bool) -> Result<(), String> {
        let is_open = !matchers.is_empty() && matchers.iter().all(|matcher| matcher.is_open());
        let is_content = accepts(matchers, "") && !is_open;
        match origin(name) {
            Origin::Target | Origin::Tenant | Origin::Constant => {
                let is_given = map::EVERY_TARGET.contains(&name);
                if is_given && (is_content || is_open) {
                    return Ok(());
                }
                if is_content && !grouped {
                    return Ok(());
                }
                let value = wanted(matchers)?;
                let set = value.as_ref().map_or_else(|| name.to_owned(), |value| format!("{name}={value}"));
                self.with(match origin(name) {
                    Origin::Tenant => format!("the label {set}: TENANT in the exporter's environment"),
                    Origin::Constant => format!("the label {set}: --label of the exporter"),
                    Origin::Target | Origin::App => {
                        format!("the label {set} of the target: the monitor must set it")
                    }
                });
                match (origin(name), value) {
                    (Origin::Tenant, Some(value)) => self.needs.environment.insert(format!("TENANT={value}")),
                    _ => self.needs.labels.insert(set),
                };
                Ok(())
            }
            Origin::App if accepts(matchers, "") && !grouped => {
                if is_known(name) && !is_open {
                    self.with(format!(
                        "the family has no label {name}, so the condition holds for every call"
                    ));
                }
                Ok(())
            }
            Origin::App if matchers.is_empty() || accepts(matchers, "") => {
                self.with(format!("one series for all values of {name}, a label that only the app can fill"));
                Ok(())
            }
            Origin::App if let Some(value) = suggestion(self.family, name) => {
                Err(format!("the family lacks the label; add {{name: {name}, value: {}}}", value.as_str()))
            }
            Origin::App => Err(format!(
                "only the app can fill the label {name} of a {} of {}",
                self.family.kind.as_str(),
                self.family.measure.as_str().replace('_', " ")
            )),
        }
    }

    /// Finds a route that has the path, name and method of the selector.
    fn route(&mut self, matchers: &BTreeMap<&str, Vec<&Matcher>>) -> Result<(), String> {
        let find = |value: Dimension| -> Vec<&Matcher> {
            let label = self.family.labels.iter().find(|label| label.value == value);
            label.and_then(|label| matchers.get(label.name.as_str())).cloned().unwrap_or_default()
        };
        if !self.family.templates.is_empty() {
            // `needs_of` adds the routes to what the dialect needs.
            self.with.extend(self.family.templates.iter().map(|template| format!("a route POST {template}")));
            return Ok(());
        }
        let (paths, names, methods) =
            (find(Dimension::Template), find(Dimension::Route), find(Dimension::Method));
        let has_post = accepts(&methods, "POST");
        let fits = |name: &str, path: &str| accepts(&names, name) && accepts(&paths, path);
        let is_preset = PRESETS.iter().any(|preset| preset.paths.iter().any(|path| fits(preset.name, path)));
        if is_preset && has_post {
            return Ok(());
        }
        let Some(method) = METHODS.iter().find(|method| accepts(&methods, method)) else {
            return Err(format!("no call has the method {}", asked(&methods)));
        };
        let name = wanted(&names)?;
        let path = wanted(&paths)?.unwrap_or_else(|| format!("/{}", name.as_deref().unwrap_or("predict")));
        if let Err(fault) = Template::parse(&path) {
            return Err(format!("no route can have this path: {fault}"));
        }
        match name {
            Some(name) => {
                self.needs.routes.insert(format!("{method} {path} as {name}"));
                self.with(format!("a route with the name {name:?}"));
            }
            None => {
                self.needs.routes.insert(format!("{method} {path}"));
                self.with(format!("a route {method} {path}"));
            }
        }
        Ok(())
    }
}

fn is_of_llm(measure: Measure) -> bool {
    use scoretap_dialect::bodies::BodyCount;
    match measure {
        Measure::Bodies(count) => matches!(
            count,
            BodyCount::Tokens
                | BodyCount::Finishes
                | BodyCount::StreamEvents
                | BodyCount::Usage
                | BodyCount::Streams
        ),
        Measure::BodyDistribution(histogram) => {
            !matches!(histogram, BodyHistogram::Rows | BodyHistogram::Value)
        }
        _ => false,
    }
}

/// The values that a label can have; `None` if it can have any.
fn candidates(label: &Label, only: &[Status]) -> Option<Vec<String>> {
    let shows = |status: Status| only.is_empty() || only.contains(&status);
    let values = match label.value {
        Dimension::Fixed => return Some(vec![label.text.clone()]),
        Dimension::Status => {
            let shown = Status::ALL.into_iter().filter(|status| shows(*status));
            shown.map(|status| label.renamed(status.as_str()).to_owned()).collect()
        }
        Dimension::Code | Dimension::CodeClass => {
            let codes = (200..600).filter(|code| shows(status_of(*code)));
            let name = |code: u16| label.renamed_code(code).map_or_else(|| code.to_string(), str::to_owned);
            codes.map(name).collect()
        }
        Dimension::Model
        | Dimension::Version
        | Dimension::Deployment
        | Dimension::Framework
        | Dimension::Class
        | Dimension::Bin => return None,
        _ => label.value.values().into_iter().map(|value| label.renamed(value).to_owned()).collect(),
    };
    Some(values)
}

const fn status_of(code: u16) -> Status {
    if code < 400 { Status::Success } else { Status::Failure }
}

/// Whether a label with this value passes all the matchers. A variable can have any value but none.
pub(super) fn accepts(matchers: &[&Matcher], value: &str) -> bool {
    matchers.iter().all(|matcher| {
        let is_equal =
            || if matcher.is_open() { open(&matcher.value, value) } else { matcher.value == value };
        match matcher.op {
            Op::Equal => is_equal(),
            Op::NotEqual => matcher.is_open() || !is_equal(),
            Op::Matches => matches(&matcher.value, value),
            Op::NotMatches => matcher.is_open() || !matches(&matcher.value, value),
        }
    })
}

fn open(text: &str, value: &str) -> bool {
    let parts: Vec<String> = text.split(ANY).map(regex::escape).collect();
    !value.is_empty() && whole(&parts.join(".*")).is_some_and(|pattern| pattern.is_match(value))
}

fn matches(pattern: &str, value: &str) -> bool {
    whole(&pattern.replace(ANY, ".*")).is_some_and(|pattern| pattern.is_match(value))
}

/// A pattern that matches whole values. Dashboards repeat few patterns in many queries, so each is compiled once.
fn whole(pattern: &str) -> Option<Rc<Regex>> {
    thread_local! {
        static COMPILED: RefCell<BTreeMap<String, Option<Rc<Regex>>>> = const { RefCell::new(BTreeMap::new()) };
    }
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(known) = compiled.get(pattern) {
            return known.clone();
        }
        let regex = Regex::new(&format!("^(?s:{pattern})$")).ok().map(Rc::new);
        compiled.insert(pattern.to_owned(), regex.clone());
        regex
    })
}

/// A value that the matchers require; `None` if any will do.
fn wanted(matchers: &[&Matcher]) -> Result<Option<String>, String> {
    if accepts(matchers, "any value") || accepts(matchers, "/any/value") {
        return Ok(None);
    }
    let parts = matchers.iter().filter(|matcher| matches!(matcher.op, Op::Equal | Op::Matches));
    let mut examples = parts.flat_map(|matcher| match matcher.op {
        Op::Equal => vec![matcher.value.replace(ANY, "x")],
        _ => alternatives(&matcher.value).iter().map(|part| example(part)).collect(),
    });
    let fits = examples.find(|value| !value.is_empty() && is_literal(value) && accepts(matchers, value));
    fits.map(Some).ok_or_else(|| format!("no label can be {}", asked(matchers)))
}

/// A text that a simple pattern matches.
fn example(pattern: &str) -> String {
    pattern.replace(ANY, "x").replace(".*", "").replace(".+", "x").replace("[^/]+", "x").replace('\\', "")
}

fn asked(matchers: &[&Matcher]) -> String {
    let shown = matchers.iter().map(|matcher| format!("{:?}", matcher.value.replace(ANY, "$")));
    shown.collect::<Vec<_>>().join(" and ")
}

fn is_default(seconds: f64) -> bool {
    DEFAULT_TIME_BOUNDS.iter().any(|bound| (float(*bound) / 1e9 - seconds).abs() < 1e-12)
}

/// A bound as Prometheus stores it.
fn written(bound: f64) -> String {
    if bound.fract() == 0.0 && bound.abs() < 1e15 { format!("{bound:.1}") } else { format!("{bound}") }
}

#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
const fn float(value: u64) -> f64 {
    value as f64
}
