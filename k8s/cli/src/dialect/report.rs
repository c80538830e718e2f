//! The report: a verdict for each query, as JSON and as a table by file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::matching::{Rules, Selectors};
use super::model::{Content, Input, Judgement, Needs, Plan, Query, Tree, Use, Verdict};
use crate::text::{clean, count};

/// The verdicts of all queries of an input.
pub(super) struct Report<'a> {
    dialect: &'a str,
    needs: &'a Needs,
    queries: Vec<Judged<'a>>,
}

/// A query and its verdict.
pub(super) struct Judged<'a> {
    pub(super) query: &'a Query,
    pub(super) verdict: Verdict,
    pub(super) judgements: &'a [Judgement],
}

impl<'a> Report<'a> {
    pub(super) fn new(dialect: &'a str, input: &'a Input, plan: &'a Plan) -> Self {
        let judge = Judge { rules: Rules::new(input, plan) };
        let queries = input.queries.iter().zip(&plan.judgements);
        let queries = queries.map(|(query, judgements)| {
            let verdict = judge.query(query, judgements, 0);
            Judged { query, verdict, judgements }
        });
        Self { dialect, needs: &plan.needs, queries: queries.collect() }
    }

    pub(super) fn queries(&self) -> &[Judged<'a>] {
        &self.queries
    }

    pub(super) fn has_empty(&self) -> bool {
        self.queries.iter().any(|judged| matches!(judged.verdict, Verdict::Empty(_)))
    }

    /// The stable format for programs.
    pub(super) fn json(&self) -> Value {
        let Needs { bounds_seconds, insight, labels, environment, routes, extra, duration_codes } =
            self.needs;
        let needs = json!({
            "bounds_seconds": bounds_seconds,
            "insight": insight,
            "labels": labels,
            "environment": environment,
            "routes": routes,
            "extra": extra,
            "duration_codes": duration_codes,
            "filter": super::write::filter(self.needs),
        });
        json!({
            "dialect": self.dialect,
            "needs": needs,
            "queries": self.queries.iter().map(Judged::json).collect::<Vec<_>>(),
        })
    }

    /// A line for each file, and below it the queries that need attention.
    pub(super) fn table(&self) -> String {
        let mut files: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        let mut total = [0; 4];
        for judged in &self.queries {
            let column = judged.verdict.column();
            files.entry(&judged.query.file).or_default()[column] += 1;
            total[column] += 1;
        }
        let width = files.keys().map(|file| file.chars().count()).max().unwrap_or(0).max("total".len());
        let mut text = format!("{:<width$}  queries  works  works with  empty  not ours\n", "file");
        let rows = files.iter().map(|(file, counts)| (*file, *counts)).chain([("total", total)]);
        for (file, [works, with, empty, others]) in rows {
            let all = works + with + empty + others;
            let _ = writeln!(
                text,
                "{:<width$}  {all:>7}  {works:>5}  {with:>10}  {empty:>5}  {others:>8}",
                clean(file)
            );
        }
        text + &self.reasons() + &self.patterns()
    }

    /// The names that each pattern stands for.
    fn patterns(&self) -> String {
        let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for judged in &self.queries {
            let Content::PromQl { uses, .. } = &judged.query.content else { continue };
            for used in uses.iter().filter(|used| !used.metric.is_empty()) {
                if let Some(pattern) = used.pattern() {
                    names.entry(pattern).or_default().insert(&used.metric);
                }
            }
        }
        let mut text = String::new();
        for (pattern, names) in names {
            let names: Vec<&str> = names.into_iter().collect();
            let _ = writeln!(text, "\n{} stands for: {}", clean(&pattern), clean(&names.join(", ")));
        }
        text
    }

    /// Each reason once, with the places that it holds for.
    fn reasons(&self) -> String {
        let mut text = String::new();
        for (heading, column) in [("works with", 1), ("empty", 2)] {
            let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for judged in self.queries.iter().filter(|judged| judged.verdict.column() == column) {
                let place = format!("{}: {}", judged.query.file, judged.query.place);
                reasons.entry(judged.verdict.why()).or_default().push(place);
            }
            for (reason, places) in reasons {
                let _ = writeln!(text, "\n{heading}: {}", clean(reason));
                const SHOWN: usize = 5;
                for place in places.iter().take(SHOWN) {
                    let _ = writeln!(text, "  {}", clean(place));
                }
                if places.len() > SHOWN {
                    let _ = writeln!(text, "  and {}", count(places.len() - SHOWN, "more place"));
                }
            }
        }
        text
    }
}

impl Judged<'_> {
    fn json(&self) -> Value {
        let uses = match &self.query.content {
            Content::PromQl { uses, .. } => uses.as_slice(),
            Content::Other(_) => &[],
        };
        let metric = |(used, judgement): (&Use, &Judgement)| {
            let mut metric = json!({"name": used.metric, "as": judgement.measure, "verdict": judgement.verdict.as_str(), "why": judgement.verdict.why()});
            if let Some(pattern) = used.pattern() {
                metric["pattern"] = pattern.into();
            }
            metric
        };
        json!({
            "file": self.query.file,
            "where": self.query.place,
            "expr": self.query.expr,
            "verdict": self.verdict.as_str(),
            "metrics": uses.iter().zip(self.judgements).map(metric).collect::<Vec<_>>(),
            "why": self.verdict.why(),
        })
    }
}

impl Verdict {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::WorksWith(_) => "works_with",
            Self::NotOurs(_) => "not_ours",
            Self::Empty(_) => "empty",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Works => "",
            Self::WorksWith(why) | Self::NotOurs(why) | Self::Empty(why) => why,
        }
    }

    const fn column(&self) -> usize {
        match self {
            Self::Works => 0,
            Self::WorksWith(_) => 1,
            Self::Empty(_) => 2,
            Self::NotOurs(_) => 3,
        }
    }

    /// Both must hold: the worse one, or both reasons.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::WorksWith(one), Self::WorksWith(two)) => {
                let reasons: BTreeSet<&str> = one.split("; ").chain(two.split("; ")).collect();
                Self::WorksWith(reasons.into_iter().collect::<Vec<_>>().join("; "))
            }
            (one, other) if other > one && other.column() != one.column() => other,
            (one, _) => one,
        }
    }
}

struct Judge<'a> {
    rules: Rules<'a>,
}

impl Judge<'_> {
    fn query(&self, query: &Query, judgements: &[Judgement], depth: usize) -> Verdict {
        match &query.content {
            Content::Other(reason) => Verdict::NotOurs(reason.clone()),
            Content::PromQl { uses, .. } if uses.is_empty() => {
                Verdict::NotOurs("it asks for no series".to_owned())
            }
            Content::PromQl { uses, tree, .. } => self.tree(tree, Selectors { uses, judgements, depth }),
        }
    }

    fn tree(&self, tree: &Tree, selectors: Selectors<'_>) -> Verdict {
        let judge = |tree: &Tree| self.tree(tree, selectors);
        let fault = |why: Option<String>| why.map_or(Verdict::Works, Verdict::Empty);
        match tree {
            Tree::Use(index) => match (selectors.uses.get(*index), selectors.judgements.get(*index)) {
                (Some(used), Some(judgement)) => {
                    self.recorded(used, selectors.depth).unwrap_or_else(|| judgement.verdict.clone())
                }
                _ => Verdict::Works,
            },
            Tree::Pair(pair) => fault(self.rules.unpaired(pair, selectors)),
            Tree::Bounded(labels) => fault(self.rules.unbounded(labels, selectors)),
            Tree::All(trees) => trees.iter().map(judge).reduce(Verdict::and).unwrap_or(Verdict::Works),
            Tree::Any(trees) => trees.iter().map(judge).min().unwrap_or(Verdict::Works),
        }
    }

    /// The verdict of the rule of this input that records the metric.
    fn recorded(&self, used: &Use, depth: usize) -> Option<Verdict> {
        let (rule, judgements) = match self.rules.rule(used, depth)? {
            Ok(rule) => rule,
            Err(why) => return Some(Verdict::Empty(why)),
        };
        let lost = self.rules.lost_label(used, depth).map_or(Verdict::Works, Verdict::Empty);
        Some(self.query(rule, judgements, depth + 1).and(lost))
    }
}

#[cfg(test)]
mod tests;
