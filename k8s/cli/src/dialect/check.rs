//! `scoretap dialect check`: compares the verdicts with the series of a Prometheus that scrapes the dialect.

mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use scoretap_dialect::Dialect;

pub(super) use self::prometheus::Prometheus;
use super::model::{ANY, Content, Input, Matcher, Op, Plan, Query, Use, Verdict};
use super::report::Report;
use crate::console::Progress;
use crate::text::{clean, count};

/// The state of a selector's promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    /// It has data, as promised, or has none, as promised.
    Confirmed,
    /// It has no data yet, because there was no such call.
    NotExercised,
    /// It has data or none, and the verdict says otherwise.
    Broken,
    /// Prometheus gave no answer in time.
    TimedOut,
}

/// The answer of Prometheus to a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Series,
    Nothing,
    /// Nothing in time.
    Late,
}

/// The series of a Prometheus.
pub(super) trait Series {
    /// Whether a selector has series. An error means that no other selector can be asked either.
    fn find(&self, selector: &str) -> Result<Answer>;
}

/// The findings of all selectors.
pub(super) struct Checked {
    /// A line for each file, and below it the selectors that need attention.
    pub(super) text: String,
    pub(super) is_broken: bool,
    /// Selectors without an answer.
    pub(super) late: usize,
}

/// Judges by the families that a dialect has, and not by those that a plan would add.
pub(super) fn only_of(mut plan: Plan, input: &Input, dialect: &Dialect) -> Plan {
    let names = Names::new(dialect, input.queries.iter());
    for (query, judgements) in input.queries.iter().zip(&mut plan.judgements) {
        let Content::PromQl { uses, .. } = &query.content else { continue };
        for (used, judgement) in uses.iter().zip(judgements) {
            let promised = matches!(judgement.verdict, Verdict::Works | Verdict::WorksWith(_));
            if promised && !names.is_of_dialect(&used.metric) && !names.is_elsewhere(&used.metric) {
                judgement.verdict = Verdict::Empty("the dialect has no such family".to_owned());
            }
        }
    }
    plan
}

/// Compares each verdict with the series of its selector.
pub(super) fn check(
    report: &Report<'_>,
    dialect: &Dialect,
    series: &dyn Series,
    mut progress: Progress<'_>,
) -> Result<Checked> {
    let names = Names::new(dialect, report.queries().iter().map(|judged| judged.query));
    let selectors = report.queries().iter().flat_map(|judged| {
        let uses = match &judged.query.content {
            Content::PromQl { uses, .. } => uses.as_slice(),
            Content::Other(_) => &[],
        };
        uses.iter()
            .zip(judged.judgements)
            .map(move |(used, judgement)| (judged.query, used, &judgement.verdict))
    });
    let selectors: Vec<_> =
        selectors.filter(|(.., verdict)| !matches!(verdict, Verdict::NotOurs(_))).collect();
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut lines = String::new();
    for (done, (query, used, verdict)) in selectors.iter().enumerate() {
        progress.show(done, selectors.len(), "selector");
        let finding = finding(used, verdict, &names, series)?;
        counts.entry(&query.file).or_default()[finding as usize] += 1;
        let place = || clean(&format!("{}: {}", query.file, query.place));
        let selector = || clean(&selector(used));
        let _ = match finding {
            Finding::Broken => {
                writeln!(lines, "broken: {}: {} is not {}", place(), selector(), verdict.as_str())
            }
            Finding::TimedOut => writeln!(lines, "timed out: {}: {}", place(), selector()),
            Finding::Confirmed | Finding::NotExercised => Ok(()),
        };
    }
    drop(progress);
    let width = counts.keys().map(|file| file.chars().count()).max().unwrap_or(0).max("file".len());
    let mut text = format!("{:<width$}  confirmed  not exercised  broken  timed out\n", "file");
    for (file, [confirmed, silent, wrong, late]) in &counts {
        let file = clean(file);
        let _ = writeln!(text, "{file:<width$}  {confirmed:>9}  {silent:>13}  {wrong:>6}  {late:>9}");
    }
    let total = |finding: Finding| counts.values().map(|counts| counts[finding as usize]).sum::<usize>();
    let wrong = total(Finding::Broken);
    let _ = writeln!(text, "\n{}", count(wrong, "wrong verdict"));
    Ok(Checked { text: text + &lines, is_broken: wrong > 0, late: total(Finding::TimedOut) })
}

fn finding(used: &Use, verdict: &Verdict, names: &Names<'_>, series: &dyn Series) -> Result<Finding> {
    let has_data = match series.find(&selector(used))? {
        Answer::Series => true,
        Answer::Nothing => false,
        Answer::Late => return Ok(Finding::TimedOut),
    };
    Ok(match verdict {
        Verdict::Works | Verdict::WorksWith(_) if has_data => Finding::Confirmed,
        // The configuration that it needs may be missing.
        Verdict::WorksWith(_) => Finding::NotExercised,
        Verdict::Works => missing(used, names, series)?,
        Verdict::Empty(_) if has_data && names.is_of_dialect(&used.metric) => Finding::Broken,
        Verdict::Empty(_) | Verdict::NotOurs(_) => Finding::Confirmed,
    })
}

/// Whether series are missing because there was no such call, or because the dialect has no such label.
fn missing(used: &Use, names: &Names<'_>, series: &dyn Series) -> Result<Finding> {
    if names.is_elsewhere(&used.metric) {
        return Ok(Finding::NotExercised);
    }
    if !names.is_of_dialect(&used.metric) {
        return Ok(Finding::Broken);
    }
    match series.find(&used.metric)? {
        Answer::Series => {}
        Answer::Nothing => return Ok(Finding::NotExercised),
        Answer::Late => return Ok(Finding::TimedOut),
    }
    for matcher in used.matchers.iter().filter(|matcher| needs_label(matcher)) {
        match series.find(&format!("{}{{{}!=\"\"}}", used.metric, matcher.label))? {
            Answer::Series => {}
            Answer::Nothing => return Ok(Finding::Broken),
            Answer::Late => return Ok(Finding::TimedOut),
        }
    }
    Ok(Finding::NotExercised)
}

fn needs_label(matcher: &Matcher) -> bool {
    match matcher.op {
        Op::Equal => !matcher.value.is_empty(),
        Op::NotEqual => matcher.value.is_empty(),
        Op::Matches => !matcher.is_open(),
        Op::NotMatches => false,
    }
}

/// The names of the metrics that a dialect's user can have.
struct Names<'a> {
    /// All samples of the dialect.
    of_dialect: Vec<String>,
    /// Metrics that rules of the input record.
    recorded: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn new(dialect: &Dialect, queries: impl Iterator<Item = &'a Query>) -> Self {
        let suffixes = ["", "_bucket", "_sum", "_count"];
        let names = dialect.families.iter().map(|family| &family.name);
        let names = names.flat_map(|name| suffixes.map(|suffix| format!("{name}{suffix}")));
        let recorded = queries.filter_map(|query| query.records.as_deref());
        Self { of_dialect: names.collect(), recorded: recorded.collect() }
    }

    fn is_of_dialect(&self, metric: &str) -> bool {
        self.of_dialect.iter().any(|name| name == metric)
    }

    /// Whether the metric is Scoretap's own or a recorded one. A dialect promises nothing about these.
    fn is_elsewhere(&self, metric: &str) -> bool {
        metric.starts_with("scoretap_") || self.recorded.contains(metric)
    }
}

/// A selector as Prometheus reads it. A variable of the dashboard matches every value.
pub(super) fn selector(used: &Use) -> String {
    let names = used.name_matchers.iter().filter(|_| used.metric.is_empty());
    let matchers: Vec<String> = names.chain(&used.matchers).filter_map(matcher).collect();
    if matchers.is_empty() {
        return used.metric.clone();
    }
    format!("{}{{{}}}", used.metric, matchers.join(","))
}

/// A condition as Prometheus reads it; `None` if every series fulfils it.
pub(super) fn matcher(matcher: &Matcher) -> Option<String> {
    let Matcher { label, op, value } = matcher;
    let text = match (op, matcher.is_open()) {
        (Op::Equal, true) => return Some(format!("{label}!=\"\"")),
        (Op::NotEqual | Op::NotMatches, true) => return None,
        (Op::Matches, true) => value.replace(ANY, ".*"),
        _ => value.clone(),
    };
    let op = match op {
        Op::Equal => "=",
        Op::NotEqual => "!=",
        Op::Matches => "=~",
        Op::NotMatches => "!~",
    };
    Some(format!("{label}{op}{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::query::understand;
    use super::super::variables::Variables;
    use super::*;

    /// These selectors have series.
    struct Known(&'static [&'static str]);

    impl Series for Known {
        fn find(&self, selector: &str) -> Result<Answer> {
            Ok(if self.0.contains(&selector) {
                Answer::Series
            } else if selector.starts_with("slow_total") {
                Answer::Late
            } else {
                Answer::Nothing
            })
        }
    }

    fn used(expr: &str) -> Use {
        match understand(expr, &Variables::new()).unwrap() {
            Content::PromQl { uses, .. } => uses[0].clone(),
            Content::Other(reason) => panic!("{expr}: {reason}"),
        }
    }

    #[track_caller]
    fn check(expr: &str, verdict: &Verdict, known: &'static [&'static str], expected: Finding) {
        let of_dialect = ["a_total", "slow_total"].map(str::to_owned).to_vec();
        let names = Names { of_dialect, recorded: BTreeSet::from(["app:rate"]) };
        let found = finding(&used(expr), verdict, &names, &Known(known)).unwrap();
        assert_eq!(found, expected, "{expr} {verdict:?} {known:?}");
    }

    #[test]
    fn selectors_open_variables() {
        let shown = |expr: &str| selector(&used(expr));
        assert_eq!(shown(r#"rate(a{b="c", d=~"$d.*", e="$e", f!="$f"}[5m])"#), r#"a{b="c",d=~".*.*",e!=""}"#);
        assert_eq!(shown("a"), "a");
        assert_eq!(shown(r#"{__name__=~"a.*", b="c"}"#), r#"{__name__=~"a.*",b="c"}"#);
    }

    #[test]
    fn promises_are_confirmed_or_broken() {
        let silent: &[&str] = &["a_total", "a_total{code!=\"\"}"];
        let selector: &[&str] = &[r#"a_total{code="429"}"#];
        let query = r#"a_total{code="429"}"#;
        check(query, &Verdict::Works, selector, Finding::Confirmed);
        check(query, &Verdict::Works, silent, Finding::NotExercised);
        check(query, &Verdict::Works, &["a_total"], Finding::Broken);
        check(query, &Verdict::Works, &[], Finding::NotExercised);
        check("b_total", &Verdict::Works, &[], Finding::Broken);
        check(query, &Verdict::WorksWith("x".to_owned()), &[], Finding::NotExercised);
        check(query, &Verdict::Empty("x".to_owned()), selector, Finding::Broken);
        check(query, &Verdict::Empty("x".to_owned()), &[], Finding::Confirmed);
        check("b_total", &Verdict::Empty("x".to_owned()), &["b_total"], Finding::Confirmed);
        check("scoretap_up", &Verdict::Works, &["scoretap_up"], Finding::Confirmed);
        check("scoretap_up", &Verdict::Works, &[], Finding::NotExercised);
        check("app:rate", &Verdict::Works, &[], Finding::NotExercised);
        let unknown: &[&str] = &["slow_total"];
        check("slow_total", &Verdict::Works, &[], Finding::TimedOut);
        check("slow_total", &Verdict::Empty("x".to_owned()), &[], Finding::TimedOut);
        check(r#"slow_total{code="429"}"#, &Verdict::Works, unknown, Finding::TimedOut);
    }
    #[test]
    fn metrics_of_other_sources_keep_their_verdict() {
        let query = |expr: &str, records: Option<&str>| Query {
            file: "rules.yml".to_owned(),
            place: "alert".to_owned(),
            expr: expr.to_owned(),
            records: records.map(str::to_owned),
            adds: BTreeSet::new(),
            legend: BTreeSet::new(),
            content: understand(expr, &Variables::new()).unwrap(),
        };
        let queries = vec![
            query("(scoretap_up == 0) or absent(scoretap_up)", None),
            query("sum(a_requests_total)", Some("app:rate")),
            query("app:rate == 0", None),
            query("b_requests_total == 0", None),
        ];
        let input = Input { queries, ..Input::default() };
        let text = "{dialect: a, families: [{name: a_requests_total, help: A., measure: calls}]}";
        let dialect = Dialect::parse("a.yaml", text).unwrap();
        let plan = only_of(super::super::plan::plan(&input, "a", None), &input, &dialect);
        let report = Report::new("a", &input, &plan);
        let verdicts: Vec<&str> = report.queries().iter().map(|judged| judged.verdict.as_str()).collect();
        assert_eq!(verdicts, ["works", "works", "works", "empty"]);
    }
}
