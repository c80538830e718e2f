//! Judges what no selector tells alone: a division of series with different labels has no result.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::accepts;
use super::labels::{Origin, origin};
use super::map;
use super::model::{Content, Input, Judgement, Labels, Matcher, Matching, Op, Pair, Plan, Query, Role, Use};

/// Recorded names can depend on recorded names, but not deeper than this.
const DEEPEST_RECORD: usize = 16;

/// The recording rules of the input, by the names that they record.
pub(super) struct Rules<'a> {
    rules: BTreeMap<&'a str, (&'a Query, &'a [Judgement])>,
}

/// The selectors of one query.
#[derive(Clone, Copy)]
pub(super) struct Selectors<'a> {
    pub(super) uses: &'a [Use],
    pub(super) judgements: &'a [Judgement],
    /// How many recording rules lead here.
    pub(super) depth: usize,
}

/// The labels of series.
struct Found {
    labels: BTreeSet<String>,
    /// Whether the series have the labels of their target, of which only the monitor knows all.
    is_scraped: bool,
}

impl<'a> Rules<'a> {
    pub(super) fn new(input: &'a Input, plan: &'a Plan) -> Self {
        let mut rules = BTreeMap::new();
        for (query, judgements) in input.queries.iter().zip(&plan.judgements) {
            if let Some(name) = &query.records {
                rules.entry(name.as_str()).or_insert((query, judgements.as_slice()));
            }
        }
        Self { rules }
    }

    /// The rule that records a metric. `Err` if it is too deep a chain, and so a circle.
    pub(super) fn rule(
        &self,
        used: &Use,
        depth: usize,
    ) -> Option<Result<(&'a Query, &'a [Judgement]), String>> {
        let rule = self.rules.get(used.metric.as_str())?;
        if depth > DEEPEST_RECORD {
            return Some(Err("recording rules depend on each other in a circle".to_owned()));
        }
        Some(Ok(*rule))
    }

    /// Why a selector of a recorded metric finds nothing, if a label that it asks for does not survive the rule.
    pub(super) fn lost_label(&self, used: &Use, depth: usize) -> Option<String> {
        let found = self.recorded(used, depth)?;
        let lost =
            used.matchers.iter().find(|matcher| !found.has(&matcher.label) && !accepts(&[matcher], ""))?;
        Some(format!("the rule that records {} keeps no label {}", used.metric, lost.label))
    }

    fn recorded(&self, used: &Use, depth: usize) -> Option<Found> {
        let (rule, judgements) = self.rule(used, depth)?.ok()?;
        let Content::PromQl { uses, labels, .. } = &rule.content else { return None };
        let mut found = self.find(labels, Selectors { uses, judgements, depth: depth + 1 })?;
        found.labels.extend(rule.adds.iter().cloned());
        Some(found)
    }

    fn find(&self, labels: &Labels, selectors: Selectors<'_>) -> Option<Found> {
        match labels {
            Labels::Of(index) => {
                let used = selectors.uses.get(*index)?;
                if self.rules.contains_key(used.metric.as_str()) {
                    return self.recorded(used, selectors.depth);
                }
                let mut labels = selectors.judgements.get(*index)?.labels.clone()?;
                labels.extend(map::EVERY_TARGET.map(str::to_owned));
                Some(Found { labels, is_scraped: true })
            }
            Labels::Only(kept, inner) => {
                let found = self.find(inner, selectors)?;
                Some(Found { labels: found.among(kept), is_scraped: false })
            }
            Labels::Without(dropped, inner) => {
                let mut found = self.find(inner, selectors)?;
                found.labels.retain(|label| !dropped.contains(label));
                Some(found)
            }
            Labels::With(added, inner) => {
                let mut found = self.find(inner, selectors)?;
                found.labels.extend(added.iter().cloned());
                Some(found)
            }
            Labels::Empty => Some(Found { labels: BTreeSet::new(), is_scraped: false }),
            Labels::Scalar | Labels::Unknown => None,
        }
    }

    /// Why no series of the two sides find each other, if none do.
    pub(super) fn unpaired(&self, pair: &Pair, selectors: Selectors<'_>) -> Option<String> {
        let [left, right] = &pair.sides;
        let (one, other) = (self.find(left, selectors)?, self.find(right, selectors)?);
        let matched = |found: &Found| match &pair.matching {
            Matching::All => found.labels.clone(),
            Matching::On(on) => found.among(on),
            Matching::Ignoring(ignored) => found.labels.difference(ignored).cloned().collect(),
        };
        let (one, other) = (matched(&one), matched(&other));
        let lonely: Vec<&str> = one.symmetric_difference(&other).map(String::as_str).collect();
        if !lonely.is_empty() {
            return Some(format!(
                "no series match across {:?}: only one side has {}; aggregate both sides alike",
                pair.operator,
                lonely.join(", ")
            ));
        }
        let both = selector(left, selectors).zip(selector(right, selectors))?;
        let apart = one.iter().find(|label| is_apart(label, both))?;
        Some(format!("no series match across {:?}: {apart} differs; aggregate both sides", pair.operator))
    }

    /// Why a quantile has no result, if the series lost their buckets.
    pub(super) fn unbounded(&self, labels: &Labels, selectors: Selectors<'_>) -> Option<String> {
        let found = self.find(labels, selectors)?;
        let lacks = !found.labels.contains("le") && self.has_buckets(labels, selectors);
        lacks.then(|| "a quantile needs the label le of the buckets; write sum by (le) (…)".to_owned())
    }

    /// Whether the series come from the buckets of a classic histogram.
    fn has_buckets(&self, labels: &Labels, selectors: Selectors<'_>) -> bool {
        match labels {
            Labels::Of(index) => selectors.uses.get(*index).is_some_and(|used| {
                let rule = self.rule(used, selectors.depth).and_then(Result::ok);
                let of_rule = rule.and_then(|(rule, judgements)| match &rule.content {
                    Content::PromQl { uses, labels, .. } => {
                        let depth = selectors.depth + 1;
                        Some(self.has_buckets(labels, Selectors { uses, judgements, depth }))
                    }
                    Content::Other(_) => None,
                });
                of_rule.unwrap_or(used.role == Role::Bucket)
            }),
            Labels::Only(_, inner) | Labels::Without(_, inner) | Labels::With(_, inner) => {
                self.has_buckets(inner, selectors)
            }
            Labels::Empty | Labels::Scalar | Labels::Unknown => false,
        }
    }
}

impl Found {
    fn has(&self, label: &str) -> bool {
        self.labels.contains(label) || self.is_scraped && origin(label) == Origin::Target
    }

    fn among(&self, labels: &BTreeSet<String>) -> BTreeSet<String> {
        labels.iter().filter(|label| self.has(label)).cloned().collect()
    }
}

/// The selector whose series an expression yields, each with all its labels.
fn selector<'a>(labels: &Labels, selectors: Selectors<'a>) -> Option<&'a Use> {
    match labels {
        Labels::Of(index) => selectors.uses.get(*index),
        Labels::Without(_, inner) | Labels::With(_, inner) => selector(inner, selectors),
        Labels::Only(..) | Labels::Empty | Labels::Scalar | Labels::Unknown => None,
    }
}

/// Whether two selectors ask for different values of a label.
fn is_apart(label: &str, (one, other): (&Use, &Use)) -> bool {
    let value = |used: &Use| -> Option<String> {
        let is_fixed =
            |matcher: &&Matcher| matcher.label == label && matcher.op == Op::Equal && !matcher.is_open();
        used.matchers.iter().find(is_fixed).map(|matcher| matcher.value.clone())
    };
    value(one).zip(value(other)).is_some_and(|(one, other)| one != other)
}
