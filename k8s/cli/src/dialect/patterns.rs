//! Replaces selectors that choose metrics by a pattern, such as `{__name__=~"churn_.*"}`, by one for each name.

use std::collections::{BTreeMap, BTreeSet};

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Repetition};
use scoretap_dialect::names::is_name;
use scoretap_dialect::{Family, Kind as FamilyKind};

use super::judge::accepts;
use super::model::{Content, Exposed, Input, Kind, Labels, Matcher, Needs, Op, Query, Tree, Use};
use super::plan::{built_in, needs_of};
use super::query::role_of;

/// A pattern stands for at most so many names.
pub(super) const MOST_NAMES: usize = 100;

/// Scoretap's own metric that every exporter has.
const OWN: &str = "scoretap_up";

/// Replaces the patterns of all queries.
pub(super) fn expand(input: &mut Input, kept: &[Family]) {
    let has_pattern = |query: &Query| {
        let Content::PromQl { uses, .. } = &query.content else { return false };
        uses.iter().any(|used| !used.name_matchers.is_empty())
    };
    if !input.queries.iter().any(has_pattern) {
        return;
    }
    let names = Names::new(input, kept);
    let mut found = BTreeMap::new();
    for query in &mut input.queries {
        let Content::PromQl { uses, tree, labels } = &mut query.content else { continue };
        let mut stand_in = BTreeMap::new();
        for index in 0..uses.len() {
            let Some(used) = uses.get(index).filter(|used| !used.name_matchers.is_empty()).cloned() else {
                continue;
            };
            let pattern = used.pattern().unwrap_or_default();
            let metrics = found.entry(pattern).or_insert_with(|| names.matching(&used.name_matchers));
            let mut named = metrics.iter().map(|metric| used.named(metric));
            let (Some(place), Some(first)) = (uses.get_mut(index), named.next()) else { continue };
            *place = first;
            let mut all = vec![index];
            for other in named {
                all.push(uses.len());
                uses.push(other);
            }
            if all.len() > 1 {
                stand_in.insert(index, all);
            }
        }
        if !stand_in.is_empty() {
            replace(tree, &stand_in);
            forget(labels, &stand_in);
        }
    }
}

impl Use {
    /// The pattern of the name as a query has it, if there is one.
    pub(super) fn pattern(&self) -> Option<String> {
        let shown = self.name_matchers.iter().map(super::check::matcher);
        let shown: Vec<String> = shown.flatten().collect();
        (!shown.is_empty()).then(|| format!("{{{}}}", shown.join(",")))
    }

    fn named(&self, metric: &str) -> Self {
        Self { metric: metric.to_owned(), role: role_of(metric, self.role), ..self.clone() }
    }
}

/// The indices of the selectors that replace one.
type StandIn = BTreeMap<usize, Vec<usize>>;

fn replace(tree: &mut Tree, stand_in: &StandIn) {
    match tree {
        Tree::Use(index) => {
            if let Some(all) = stand_in.get(index) {
                *tree = Tree::Any(all.iter().copied().map(Tree::Use).collect());
            }
        }
        Tree::Pair(pair) => pair.sides.iter_mut().for_each(|side| forget(side, stand_in)),
        Tree::Bounded(labels) => forget(labels, stand_in),
        Tree::All(trees) | Tree::Any(trees) => trees.iter_mut().for_each(|tree| replace(tree, stand_in)),
    }
}

/// Metrics of several names can have different labels.
fn forget(labels: &mut Labels, stand_in: &StandIn) {
    match labels {
        Labels::Of(index) if stand_in.contains_key(index) => *labels = Labels::Unknown,
        Labels::Only(_, inner) | Labels::Without(_, inner) | Labels::With(_, inner) => {
            forget(inner, stand_in);
        }
        Labels::Of(_) | Labels::Empty | Labels::Scalar | Labels::Unknown => {}
    }
}

/// The names that a pattern can match.
struct Names {
    /// Names in the other queries, the expositions and the dialect's earlier version.
    seen: BTreeSet<String>,
    /// Names of the built-in dialects' families that need no configuration.
    plain: BTreeSet<String>,
    /// Names of all built-in families.
    built_in: BTreeSet<String>,
}

impl Names {
    fn new(input: &Input, kept: &[Family]) -> Self {
        let mut seen = BTreeSet::from([OWN.to_owned()]);
        for query in &input.queries {
            seen.extend(query.records.clone());
            if let Content::PromQl { uses, .. } = &query.content {
                seen.extend(uses.iter().map(|used| used.metric.clone()));
            }
        }
        seen.extend(input.exposed.iter().flat_map(exposed));
        seen.extend(kept.iter().flat_map(series));
        let families = built_in();
        let plain = families.iter().filter(|family| needs_of(family) == Needs::default());
        Self {
            seen,
            plain: plain.flat_map(series).collect(),
            built_in: families.iter().flat_map(series).collect(),
        }
    }

    /// The names that the pattern spells out or that the input has; if there are none, those of built-in dialects.
    fn matching(&self, matchers: &[Matcher]) -> Vec<String> {
        let matchers: Vec<&Matcher> = matchers.iter().collect();
        let patterns = matchers.iter().filter(|matcher| matcher.op == Op::Matches);
        let spelled: Vec<String> = patterns
            .filter_map(|matcher| regex_syntax::parse(&matcher.value).ok())
            .flat_map(|pattern| spelled(&pattern))
            .collect();
        let fits = |name: &&String| is_name(name) && accepts(&matchers, name);
        let own: BTreeSet<&String> = self.seen.iter().chain(&spelled).filter(fits).collect();
        let sources =
            [own, self.plain.iter().filter(fits).collect(), self.built_in.iter().filter(fits).collect()];
        let found = sources.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
        found.into_iter().take(MOST_NAMES).cloned().collect()
    }
}

/// The texts that a pattern spells out. A part with endlessly many texts, or more than [`MOST_NAMES`], adds none:
/// `(a|b)_total|c_.*` spells out `a_total` and `b_total`.
fn spelled(pattern: &Hir) -> Vec<String> {
    let texts = match pattern.kind() {
        // Anchors are checked when the whole pattern matches the name.
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(text) => String::from_utf8(text.0.to_vec()).into_iter().collect(),
        HirKind::Class(Class::Unicode(class)) => characters(class),
        HirKind::Class(Class::Bytes(_)) => Vec::new(),
        HirKind::Repetition(repetition) => repeated(repetition),
        HirKind::Capture(capture) => spelled(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().fold(vec![String::new()], |texts, part| joined(&texts, &spelled(part)))
        }
        HirKind::Alternation(parts) => parts.iter().flat_map(spelled).collect(),
    };
    if texts.len() > MOST_NAMES { Vec::new() } else { texts }
}

fn characters(class: &ClassUnicode) -> Vec<String> {
    let all = class.iter().flat_map(|range| range.start()..=range.end());
    all.take(MOST_NAMES + 1).map(String::from).collect()
}

fn repeated(repetition: &Repetition) -> Vec<String> {
    let most = repetition.max.and_then(|most| usize::try_from(most).ok());
    let Some(most) = most.filter(|most| *most <= MOST_NAMES) else { return Vec::new() };
    let part = spelled(&repetition.sub);
    let mut texts = vec![String::new()];
    let mut all = Vec::new();
    for times in 0..=most {
        if u32::try_from(times).is_ok_and(|times| times >= repetition.min) {
            all.extend(texts.iter().cloned());
        }
        texts = joined(&texts, &part);
    }
    all
}

/// Each first text before each second one; none if these are too many.
fn joined(firsts: &[String], seconds: &[String]) -> Vec<String> {
    if firsts.len() * seconds.len() > MOST_NAMES {
        return Vec::new();
    }
    let pairs = firsts.iter().flat_map(|first| seconds.iter().map(move |second| (first, second)));
    pairs.map(|(first, second)| format!("{first}{second}")).collect()
}

/// The names of a family's series.
fn series(family: &Family) -> Vec<String> {
    match family.kind {
        FamilyKind::Histogram => with(&family.name, &["_bucket", "_sum", "_count"]),
        FamilyKind::Summary => with(&family.name, &["_sum", "_count"]),
        FamilyKind::Counter | FamilyKind::Gauge | FamilyKind::Info => vec![family.name.clone()],
    }
}

fn exposed(exposed: &Exposed) -> Vec<String> {
    match exposed.kind {
        Kind::Histogram => with(&exposed.name, &["_bucket", "_sum", "_count"]),
        Kind::Summary => with(&exposed.name, &["", "_sum", "_count"]),
        Kind::Counter | Kind::Gauge | Kind::Untyped => vec![exposed.name.clone()],
    }
}

fn with(name: &str, suffixes: &[&str]) -> Vec<String> {
    suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::dialect::plan::plan;
    use crate::dialect::report::Report;
    use crate::dialect::sources;

    /// The report on a query beside others and an exposition.
    fn report(expr: &str, others: &[&str], exposition: &str) -> serde_json::Value {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let rules = [&[expr], others].concat();
        let rules = rules.iter().map(|expr| serde_json::json!({"alert": "A", "expr": expr}));
        let rules = serde_json::json!({"groups": [{"name": "a", "rules": rules.collect::<Vec<_>>()}]});
        let mut files = vec![write("rules.yml", &rules.to_string())];
        if !exposition.is_empty() {
            files.push(write("metrics.txt", exposition));
        }
        let mut input = sources::read(&files);
        assert_eq!(input.faults, [""; 0]);
        expand(&mut input, &[]);
        let plan = plan(&input, "churn", None);
        Report::new("churn", &input, &plan).json()["queries"][0].clone()
    }

    #[track_caller]
    fn check(expr: &str, others: &[&str], exposition: &str, verdict: &str, names: &[&str]) {
        let report = report(expr, others, exposition);
        let found: Vec<&str> = report["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|metric| metric["name"].as_str().unwrap())
            .collect();
        assert_eq!((report["verdict"].as_str().unwrap(), found.as_slice()), (verdict, names), "{report:#}");
    }

    #[test]
    fn pattern_stands_for_the_names_of_other_inputs() {
        let others = ["a_requests_total", "rate(a_request_latency_seconds_bucket[5m])", "b_requests_total"];
        let names = ["a_request_latency_seconds_bucket", "a_requests_total", "b_calls_total"];
        check(r#"{__name__=~"a_.*|b_calls_total"}"#, &others, "", "works", &names);
        check(r#"{__name__=~"a_.*", __name__!~".*_total"}"#, &others, "", "works", &names[..1]);
        check(r#"sum(rate({__name__=~"a_.*_total"}[5m]))"#, &others, "", "works", &names[1..2]);
        let exposition = "# TYPE c_request_seconds histogram\nc_request_seconds_bucket{le=\"+Inf\"} 1\nc_request_seconds_sum 1\nc_request_seconds_count 1\n";
        let names = ["c_request_seconds_bucket", "c_request_seconds_count", "c_request_seconds_sum"];
        check(r#"{__name__=~"c_.+"}"#, &[], exposition, "works", &names);
    }

    #[test]
    fn pattern_stands_for_names_that_it_spells_out() {
        let names = ["a_requests_total", "b_requests_total"];
        check(r#"{__name__=~"(a|b)_requests_total"}"#, &[], "", "works", &names);
        check(r#"sum(rate({__name__=~"^(?:a|b)_requests(_total)$"}[5m]))"#, &[], "", "works", &names);
        check(r#"{__name__=~"[ab]_requests_total|c_.*"}"#, &[], "", "works", &names);
        check(r#"{__name__=~"[a-c]_requests_total", __name__!~"c.*"}"#, &[], "", "works", &names);
        let names = ["a_requests_created", "a_requests_total"];
        check(r#"{__name__=~"a_requests_(total|created)"}"#, &[], "", "works", &names);
        check(r#"{__name__=~"a_requests(_total)?"}"#, &[], "", "works", &["a_requests", "a_requests_total"]);
        let names = ["a1_requests_total", "a22_requests_total"];
        check(r#"{__name__=~"(a1|a2{2})_requests_total"}"#, &[], "", "works", &names);
    }

    #[test]
    fn spelled_names_are_bounded() {
        #[track_caller]
        fn check(pattern: &str, expected: usize) {
            let parsed = regex_syntax::parse(pattern).unwrap();
            assert_eq!(spelled(&parsed).len(), expected, "{pattern}");
        }
        let list =
            |count: usize| (0..count).map(|number| format!("a{number}x")).collect::<Vec<_>>().join("|");
        check(&list(MOST_NAMES), MOST_NAMES);
        check(&list(MOST_NAMES + 1), 0);
        check("[0-9]{2}", 100);
        check("[0-9]{2}[01]", 0);
        check("[0-9]{2}[01]|b", 1);
        check("(a?){100}", 0);
        check("a{0,99}", 100);
        check("a{0,100}", 0);
        check("a{101}|b", 1);
        for endless in ["a*", "a+", "a.*", ".*a", "a{2,}", "\\w", "[^a]"] {
            check(endless, 0);
        }
    }

    #[test]
    fn pattern_stands_for_names_of_built_in_dialects() {
        let names = ["starlette_requests_in_progress", "starlette_requests_total"];
        check(r#"{__name__=~"starlette_requests_.*"}"#, &[], "", "works", &names);
        check(r#"{__name__=~"vllm:prompt_.*"}"#, &[], "", "works_with", &["vllm:prompt_tokens_total"]);
        check(r#"{__name__=~"scoretap_.*"}"#, &[], "", "works", &["scoretap_up"]);
    }

    #[test]
    fn unmatched_pattern_is_empty_or_not_ours() {
        let expr = r#"{__name__=~"zebra_.*", code="200"}"#;
        check(expr, &[], "", "empty", &[""]);
        let report = report(expr, &[], "");
        assert_eq!(report["metrics"][0]["pattern"], r#"{__name__=~"zebra_.*"}"#);
        assert!(report["why"].as_str().unwrap().starts_with("{__name__=~\"zebra_.*\"} matches no metric"));
        check(r#"{__name__=~"node_cpu.*"}"#, &[], "", "not_ours", &[""]);
        check(r#"{__name__=~".+"}"#, &[], "", "not_ours", &[]);
        check(r#"{job="a"}"#, &[], "", "not_ours", &[]);
    }

    #[test]
    fn pattern_of_several_names_has_no_known_labels() {
        let others = ["a_requests_total", "a_calls_total"];
        let names = ["a_calls_total", "a_requests_total", "a_requests_total"];
        let expr = r#"sum by (code) ({__name__=~"a_.*"}) / sum by (code) (a_requests_total)"#;
        let report = report(expr, &others, "");
        let mut found: Vec<&str> = report["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|metric| metric["name"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!((report["verdict"].as_str().unwrap(), found.as_slice()), ("works", &names[..]));
    }
}
