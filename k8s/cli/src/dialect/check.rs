//! `scoretap dialect check`: compares the verdicts with the series of a Prometheus that scrapes the dialect.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, bail};
use scoretap_dialect::Dialect;
use serde_json::Value;

use super::model::{ANY, Content, Input, Matcher, Op, Plan, Use, Verdict};
use super::report::Report;
use crate::text::{clean, count};
use crate::usage;

/// The state of a selector's promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    /// It has data, as promised, or has none, as promised.
    Confirmed,
    /// It has no data yet, because there was no such call.
    NotExercised,
    /// It has data or none, and the verdict says otherwise.
    Broken,
}

/// The series of a Prometheus.
pub(super) trait Series {
    /// Whether a selector has series.
    fn has(&self, selector: &str) -> Result<bool>;
}

/// A Prometheus, or something with the same interface.
pub(super) struct Prometheus {
    url: String,
    /// The start and end of the time that is looked at, in seconds since 1970.
    span: (u64, u64),
}

impl Prometheus {
    pub(super) fn new(url: &str, seconds: u64) -> Result<Self> {
        if !url.starts_with("http://") {
            let advice = "write http://HOST:PORT; use kubectl port-forward for one with TLS";
            return Err(usage(format!("--prometheus {}: {advice}", clean(url))));
        }
        let now =
            std::time::SystemTime::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).unwrap_or_default();
        Ok(Self { url: url.trim_end_matches('/').to_owned(), span: (now.saturating_sub(seconds), now + 60) })
    }
}

impl Series for Prometheus {
    fn has(&self, selector: &str) -> Result<bool> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let (start, end) = self.span;
        let request = agent.get(format!("{}/api/v1/series", self.url)).query("match[]", selector);
        let request =
            request.query("start", start.to_string()).query("end", end.to_string()).query("limit", "1");
        let mut response =
            request.call().with_context(|| format!("cannot ask Prometheus at {}", self.url))?;
        let text = response.body_mut().read_to_string().context("cannot read Prometheus' answer")?;
        let answer: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} answers without JSON; is it a Prometheus?", self.url))?;
        if answer["status"] != "success" {
            let error = answer["error"].as_str().unwrap_or("no reason");
            bail!("Prometheus rejects {}: {}", clean(selector), clean(error));
        }
        Ok(answer["data"].as_array().is_some_and(|series| !series.is_empty()))
    }
}

/// Judges by the families that a dialect has, and not by those that a plan would add.
pub(super) fn only_of(mut plan: Plan, input: &Input, dialect: &Dialect) -> Plan {
    let names = names(dialect);
    for (query, judgements) in input.queries.iter().zip(&mut plan.judgements) {
        let Content::PromQl { uses, .. } = &query.content else { continue };
        for (used, judgement) in uses.iter().zip(judgements) {
            let promised = matches!(judgement.verdict, Verdict::Works | Verdict::WorksWith(_));
            if promised && !names.contains(&used.metric) {
                judgement.verdict = Verdict::Empty("the dialect has no such family".to_owned());
            }
        }
    }
    plan
}

/// The findings of all selectors, as text, and whether a promise is broken.
pub(super) fn check(report: &Report<'_>, dialect: &Dialect, series: &dyn Series) -> Result<(String, bool)> {
    let names = names(dialect);
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut broken = String::new();
    for judged in report.queries() {
        let Content::PromQl { uses, .. } = &judged.query.content else { continue };
        for (used, judgement) in uses.iter().zip(judged.judgements) {
            if matches!(judgement.verdict, Verdict::NotOurs(_)) {
                continue;
            }
            let finding = finding(used, &judgement.verdict, &names, series)?;
            counts.entry(&judged.query.file).or_default()[finding as usize] += 1;
            if finding == Finding::Broken {
                let place = format!("{}: {}", judged.query.file, judged.query.place);
                let verdict = judgement.verdict.as_str();
                let _ = writeln!(
                    broken,
                    "broken: {}: {} is not {verdict}",
                    clean(&place),
                    clean(&selector(used))
                );
            }
        }
    }
    let width = counts.keys().map(|file| file.chars().count()).max().unwrap_or(0).max("file".len());
    let mut text = format!("{:<width$}  confirmed  not exercised  broken\n", "file");
    for (file, [confirmed, silent, wrong]) in &counts {
        let _ = writeln!(text, "{:<width$}  {confirmed:>9}  {silent:>13}  {wrong:>6}", clean(file));
    }
    let wrong: usize = counts.values().map(|[_, _, wrong]| wrong).sum();
    let _ = writeln!(text, "\n{}", count(wrong, "wrong verdict"));
    Ok((text + &broken, wrong > 0))
}

fn finding(used: &Use, verdict: &Verdict, names: &[String], series: &dyn Series) -> Result<Finding> {
    let has_data = series.has(&selector(used))?;
    Ok(match verdict {
        Verdict::Works | Verdict::WorksWith(_) if has_data => Finding::Confirmed,
        // The configuration that it needs may be missing.
        Verdict::WorksWith(_) => Finding::NotExercised,
        Verdict::Works => missing(used, names, series)?,
        Verdict::Empty(_) if has_data && names.contains(&used.metric) => Finding::Broken,
        Verdict::Empty(_) | Verdict::NotOurs(_) => Finding::Confirmed,
    })
}

/// Whether series are missing because there was no such call, or because the dialect has no such label.
fn missing(used: &Use, names: &[String], series: &dyn Series) -> Result<Finding> {
    if !names.contains(&used.metric) {
        return Ok(Finding::Broken);
    }
    if !series.has(&used.metric)? {
        return Ok(Finding::NotExercised);
    }
    for matcher in used.matchers.iter().filter(|matcher| needs_label(matcher)) {
        if !series.has(&format!("{}{{{}!=\"\"}}", used.metric, matcher.label))? {
            return Ok(Finding::Broken);
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

/// The names of all samples of a dialect.
fn names(dialect: &Dialect) -> Vec<String> {
    let suffixes = ["", "_bucket", "_sum", "_count"];
    let names = dialect.families.iter().map(|family| &family.name);
    names.flat_map(|name| suffixes.map(|suffix| format!("{name}{suffix}"))).collect()
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
        fn has(&self, selector: &str) -> Result<bool> {
            Ok(self.0.contains(&selector))
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
        let names = ["a_total".to_owned()];
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
    }
}
