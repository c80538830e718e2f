//! Plans a dialect: which family fills each selector, and the verdict on it.

mod family;

use std::collections::{BTreeMap, BTreeSet};

use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, Histogram, MOST_BOUNDS, time_bound};
use scoretap_dialect::names::is_name;
use scoretap_dialect::{BUILT_IN, Dialect, Family, Kind as FamilyKind, Measure, Unit, sample_names};

use self::family::family;
pub(super) use self::family::needs_of;
use super::judge::{Series, judge};
use super::labels::{self, Origin, Values};
use super::map;
use super::measure::{Chosen, Declined, Hints, Shape, choose};
use super::model::{
    Content, Exposed, Input, Judgement, Kind, Labels, Matching, Needs, Op, Plan, Planned, Query, Role, Use,
    Verdict,
};
use super::patterns::MOST_NAMES;
use super::write::Earlier;

/// Prefixes with a colon that are no recording rule's.
const SERVERS: [&str; 4] = ["vllm:", ":tensorflow:", "sglang:", "lmdeploy:"];

/// Plans a dialect of this name. What an earlier version of it has stays as it is.
pub(super) fn plan(input: &Input, dialect: &str, earlier: Option<&Earlier>) -> Plan {
    let kept = earlier.map(|earlier| earlier.dialect.families.as_slice()).unwrap_or_default();
    let declined = earlier.map(|earlier| earlier.declined.clone()).unwrap_or_default();
    Planner::new(input, dialect, kept, declined).plan()
}

/// The demands of queries and expositions on a family.
#[derive(Default)]
struct Wanted<'a> {
    /// Query, selector and the part of the family.
    uses: Vec<(usize, usize, Series)>,
    exposed: Option<&'a Exposed>,
    /// Labels that legends show.
    shown: BTreeSet<String>,
}

/// A family, or why there is none.
struct Decision {
    family: Result<Family, String>,
    questions: Vec<String>,
    is_choice: bool,
}

impl Decision {
    fn judge(&self, used: &Use, series: Series, needs: &mut Needs) -> Judgement {
        let nothing = |why: String| Judgement { verdict: Verdict::Empty(why), measure: None, labels: None };
        match &self.family {
            Err(why) => nothing(why.clone()),
            Ok(family) if self.is_choice => nothing(choice_reason(family)),
            Ok(family) => {
                let mut labels: BTreeSet<String> =
                    family.labels.iter().map(|label| label.name.clone()).collect();
                if series == Series::Bucket {
                    labels.insert("le".to_owned());
                }
                let verdict = judge(used, series, family, needs);
                Judgement { verdict, measure: Some(family.measure.as_str()), labels: Some(labels) }
            }
        }
    }
}

struct Planner<'a> {
    input: &'a Input,
    dialect: &'a str,
    kept: BTreeMap<&'a str, &'a Family>,
    /// Families that the user commented out.
    declined: BTreeSet<String>,
    built_in: Vec<Family>,
    exposed: BTreeMap<&'a str, Kind>,
    /// Names that recording rules of the input make.
    recorded: BTreeSet<&'a str>,
    /// Bases of names that end in _bucket or _sum.
    bases: BTreeSet<&'a str>,
}

/// The families of all built-in dialects.
pub(super) fn built_in() -> Vec<Family> {
    let dialects = BUILT_IN.iter().filter_map(|(name, text)| Dialect::parse(name, text).ok());
    dialects.flat_map(|dialect| dialect.families).collect()
}

impl<'a> Planner<'a> {
    fn new(input: &'a Input, dialect: &'a str, kept: &'a [Family], declined: BTreeSet<String>) -> Self {
        let bases = uses(input).filter_map(|(_, _, used)| {
            used.metric.strip_suffix("_bucket").or_else(|| used.metric.strip_suffix("_sum"))
        });
        Self {
            input,
            dialect,
            kept: kept.iter().map(|family| (family.name.as_str(), family)).collect(),
            declined,
            built_in: built_in(),
            exposed: input.exposed.iter().map(|exposed| (exposed.name.as_str(), exposed.kind)).collect(),
            recorded: input.queries.iter().filter_map(|query| query.records.as_deref()).collect(),
            bases: bases.collect(),
        }
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan { judgements: self.input.queries.iter().map(blank).collect(), ..Plan::default() };
        let wanted = self.wanted(&mut plan);
        let mut decisions: BTreeMap<&str, Decision> =
            wanted.iter().map(|(name, wanted)| (name.as_str(), self.decide(name, wanted))).collect();
        self.pair(&mut decisions);
        let mut order: Vec<(&String, &Wanted<'a>)> = wanted.iter().collect();
        // If two names clash, the one with more queries stays.
        order.sort_by_key(|(name, wanted)| (!self.is_kept(name), std::cmp::Reverse(wanted.uses.len())));
        let mut taken = BTreeSet::new();
        for (name, wanted) in order {
            if let Some(decision) = decisions.remove(name.as_str()) {
                self.add(&mut plan, name, wanted, decision, &mut taken);
            }
        }
        plan.families.sort_by(|one, other| one.family.name.cmp(&other.family.name));
        plan
    }

    /// The demands on each family, while selectors of other exporters get their verdict.
    fn wanted(&self, plan: &mut Plan) -> BTreeMap<String, Wanted<'a>> {
        let mut wanted: BTreeMap<String, Wanted<'a>> = BTreeMap::new();
        for exposed in &self.input.exposed {
            let is_ours = exposed.name.starts_with("scoretap_") || exposed.name.ends_with("_created");
            if map::other(&exposed.name).is_none() && is_name(&exposed.name) && !is_ours {
                wanted.entry(exposed.name.clone()).or_default().exposed = Some(exposed);
            }
        }
        for (query, index, used) in uses(self.input) {
            match self.foreign(used) {
                Some(verdict) => {
                    set(plan, query, index, Judgement { verdict, measure: None, labels: None });
                }
                None => {
                    let (base, series) = self.base(used);
                    wanted.entry(base).or_default().uses.push((query, index, series));
                }
            }
        }
        self.legends(&mut wanted);
        for family in self.kept.values() {
            wanted.entry(family.name.clone()).or_default();
        }
        wanted
    }

    /// Adds the labels that legends name, if no operator needs a family to have the labels of another.
    fn legends(&self, wanted: &mut BTreeMap<String, Wanted<'a>>) {
        let pairs: BTreeSet<String> = self.pairs().into_iter().flatten().collect();
        for query in &self.input.queries {
            let Content::PromQl { uses, labels, .. } = &query.content else { continue };
            for label in query.legend.iter().filter(|label| labels::is_of_calls(label)) {
                let used = reached(labels, label).and_then(|index| uses.get(index));
                let base = used.map(|used| self.base(used).0).filter(|base| !pairs.contains(base));
                if let Some(wanted) = base.and_then(|base| wanted.get_mut(&base)) {
                    wanted.shown.insert(label.clone());
                }
            }
        }
    }

    /// Different families whose series must find each other by all their labels.
    fn pairs(&self) -> BTreeSet<[String; 2]> {
        let mut pairs = BTreeSet::new();
        for query in &self.input.queries {
            let Content::PromQl { uses, tree, .. } = &query.content else { continue };
            let base = |labels: &Labels| match labels {
                Labels::Of(index) => uses.get(*index).map(|used| self.base(used).0),
                _ => None,
            };
            for pair in tree.pairs().into_iter().filter(|pair| pair.matching == Matching::All) {
                let [left, right] = &pair.sides;
                let both = base(left).zip(base(right));
                pairs.extend(both.filter(|(left, right)| left != right).map(|(left, right)| [left, right]));
            }
        }
        pairs
    }

    /// Gives the labels of each family to those that are divided by it or by which it is divided.
    fn pair(&self, decisions: &mut BTreeMap<&str, Decision>) {
        for [left, right] in self.pairs() {
            for (from, to) in [(&left, &right), (&right, &left)] {
                let labels = match decisions.get(from.as_str()) {
                    Some(Decision { family: Ok(family), is_choice: false, .. }) => family.labels.clone(),
                    _ => continue,
                };
                if let Some(Decision { family: Ok(family), is_choice: false, .. }) =
                    decisions.get_mut(to.as_str())
                    && !self.is_kept(to)
                {
                    labels::add(family, labels);
                }
            }
        }
    }

    fn is_kept(&self, name: &str) -> bool {
        self.kept.contains_key(name)
    }

    /// The verdict on a metric that no dialect has.
    fn foreign(&self, used: &Use) -> Option<Verdict> {
        let metric = used.metric.as_str();
        if metric.is_empty() {
            return Some(unmatched(used));
        }
        if metric.starts_with("scoretap_") || self.recorded.contains(metric) {
            return Some(Verdict::Works);
        }
        if !is_name(metric) {
            return Some(Verdict::Empty(
                "a dialect's names have letters, digits, \"_\" and \":\" only".to_owned(),
            ));
        }
        let (base, _) = self.base(used);
        if self.is_kept(&base) || self.built_in.iter().any(|family| family.name == base) {
            return None;
        }
        if let Some(owner) = map::other(metric) {
            return Some(Verdict::NotOurs(format!("{owner} has it")));
        }
        if metric.contains(':') && !SERVERS.iter().any(|server| metric.starts_with(server)) {
            return Some(Verdict::NotOurs("a recording rule makes it; give its rule file too".to_owned()));
        }
        None
    }

    /// The family that a metric belongs to, and the part of it.
    fn base(&self, used: &Use) -> (String, Series) {
        let metric = used.metric.as_str();
        let exposed =
            |name: &str, kinds: &[Kind]| self.exposed.get(name).is_some_and(|kind| kinds.contains(kind));
        let known = |name: &str| {
            let is_shaped = |family: &&Family| {
                family.name == name && matches!(family.kind, FamilyKind::Histogram | FamilyKind::Summary)
            };
            self.kept.get(name).copied().into_iter().chain(&self.built_in).any(|family| is_shaped(&family))
        };
        let whole = (metric.to_owned(), Series::Plain);
        if exposed(metric, &[Kind::Counter, Kind::Gauge]) || self.is_kept(metric) {
            return whole;
        }
        if let Some(base) = metric.strip_suffix("_bucket") {
            return (base.to_owned(), Series::Bucket);
        }
        if let Some(base) = metric.strip_suffix("_sum") {
            return (base.to_owned(), Series::Sum);
        }
        if let Some(base) = metric.strip_suffix("_count") {
            let words = map::words(base);
            let is_distribution =
                words.iter().any(|word| map::TIMES.contains(&word.as_str()) || word == "bytes");
            if is_distribution
                || self.bases.contains(base)
                || exposed(base, &[Kind::Histogram, Kind::Summary])
                || known(base)
            {
                return (base.to_owned(), Series::Count);
            }
        }
        whole
    }

    fn add(
        &self,
        plan: &mut Plan,
        name: &str,
        wanted: &Wanted<'_>,
        mut decision: Decision,
        taken: &mut BTreeSet<String>,
    ) {
        if let Ok(family) = &decision.family
            && !decision.is_choice
        {
            let samples = sample_names(family);
            if samples.iter().any(|sample| taken.contains(sample)) {
                decision.family = Err("another family of the dialect has samples of this name".to_owned());
            } else {
                taken.extend(samples);
            }
        }
        let mut is_used = wanted.uses.is_empty() || wanted.exposed.is_some() || self.is_kept(name);
        for (query, index, series) in &wanted.uses {
            let Some(used) = self.used(*query, *index) else { continue };
            let judgement = decision.judge(used, *series, &mut plan.needs);
            is_used |= !matches!(judgement.verdict, Verdict::Empty(_)) || decision.is_choice;
            set(plan, *query, *index, judgement);
        }
        if let Ok(family) = decision.family
            && is_used
        {
            if !decision.is_choice {
                plan.needs.add(needs_of(&family));
            }
            let wanted_by = wanted.uses.iter().filter_map(|(query, ..)| self.input.queries.get(*query));
            let wanted_by: BTreeSet<String> =
                wanted_by.map(|query| format!("{}: {}", query.file, query.place)).collect();
            plan.families.push(Planned {
                family,
                wanted_by: wanted_by.into_iter().collect(),
                questions: decision.questions,
                is_choice: decision.is_choice,
            });
        }
    }

    fn used(&self, query: usize, index: usize) -> Option<&'a Use> {
        match &self.input.queries.get(query)?.content {
            Content::PromQl { uses, .. } => uses.get(index),
            Content::Other(_) => None,
        }
    }

    fn decide(&self, name: &str, wanted: &Wanted<'_>) -> Decision {
        let Some(kept) = self.kept.get(name) else {
            return self.propose(name, wanted);
        };
        let proposal = self.propose(name, wanted);
        // The labels at its end are those of families that it is divided by.
        let is_same = |family: &Family| {
            let labels = kept.labels.clone();
            labels.starts_with(&family.labels) && Family { labels, ..family.clone() } == **kept
        };
        if proposal.family.as_ref().is_ok_and(is_same) {
            // Nobody has answered its questions yet.
            return Decision { family: Ok((*kept).clone()), is_choice: false, ..proposal };
        }
        Decision { family: Ok((*kept).clone()), questions: Vec::new(), is_choice: false }
    }

    fn propose(&self, name: &str, wanted: &Wanted<'_>) -> Decision {
        let decided = |family| Decision { family, questions: Vec::new(), is_choice: false };
        if self.declined.contains(name) {
            return decided(Err("the dialect has it as a comment".to_owned()));
        }
        let values = self.values(wanted);
        if let Some(family) = self.known(name, wanted, &values) {
            return decided(Ok(family));
        }
        let shape = shape(name, wanted, self);
        let hints = hints(&values, wanted, self.compared(wanted));
        match choose(name, shape, &hints) {
            Ok(chosen) => {
                let mut questions = chosen.questions.clone();
                let mut family = family(name, chosen);
                questions.extend(labels::fill(&mut family, &values, self.dialect));
                self.bounds(&mut family, wanted);
                Decision { family: Ok(family), questions, is_choice: false }
            }
            Err(declined) => match (self.built_in.iter().find(|family| family.name == name), declined) {
                (Some(family), _) => decided(Ok(family.clone())),
                (None, Declined::Unknowable(why)) => decided(Err(why)),
                (None, Declined::Undecided(why)) => self.choice(name, shape, &values, why),
            },
        }
    }

    /// A family for the user to decide on, written as a comment.
    fn choice(&self, name: &str, shape: Shape, values: &Values, why: String) -> Decision {
        let (measure, kind, question) = match shape {
            Shape::Counter => (Measure::Calls, FamilyKind::Counter, "uncomment if each call counts once"),
            Shape::Histogram => (
                Measure::Distribution(Histogram::Duration),
                FamilyKind::Histogram,
                "uncomment if it is the time of a call",
            ),
            Shape::Summary | Shape::Gauge => {
                return Decision { family: Err(why), questions: Vec::new(), is_choice: false };
            }
        };
        let chosen = Chosen {
            measure,
            kind,
            unit: Unit::Seconds,
            only: Vec::new(),
            values: Vec::new(),
            questions: Vec::new(),
        };
        let mut family = family(name, chosen);
        labels::fill(&mut family, values, self.dialect);
        Decision { family: Ok(family), questions: vec![format!("{why}: {question}")], is_choice: true }
    }

    /// The family of a built-in dialect that fills all that is wanted.
    fn known(&self, name: &str, wanted: &Wanted<'_>, values: &Values) -> Option<Family> {
        let has_all = |family: &Family| {
            values.keys().all(|label| {
                let is_own = family.labels.iter().any(|own| own.name == *label);
                is_own || matches!(labels::origin(label), Origin::Target | Origin::Tenant)
            })
        };
        let answers = |family: &Family| {
            wanted.uses.iter().all(|(query, index, series)| {
                let used = self.used(*query, *index);
                used.is_some_and(|used| {
                    let verdict = judge(used, *series, family, &mut Needs::default());
                    !matches!(verdict, Verdict::Empty(_))
                })
            })
        };
        let mut same =
            self.built_in.iter().filter(|family| family.name == name).cloned().map(|mut family| {
                self.bounds(&mut family, wanted);
                family
            });
        same.find(|family| has_all(family) && answers(family))
    }

    /// Bounds as exposed, and those that `le` is compared with.
    fn bounds(&self, family: &mut Family, wanted: &Wanted<'_>) {
        let Measure::Distribution(histogram) = family.measure else { return };
        if !histogram.is_time() || family.kind != FamilyKind::Histogram {
            return;
        }
        let scale = family.unit.nanoseconds() / 1e9;
        let nanoseconds = |bounds: &[f64]| -> Vec<u64> {
            bounds.iter().filter_map(|bound| time_bound(bound * scale)).collect()
        };
        let mut own = match wanted.exposed {
            Some(exposed) if !exposed.bounds.is_empty() => nanoseconds(&exposed.bounds),
            _ => family.bounds.clone().unwrap_or_else(|| DEFAULT_TIME_BOUNDS.to_vec()),
        };
        let compared = nanoseconds(&self.compared(wanted));
        let room = MOST_BOUNDS.saturating_sub(compared.len());
        if own.len() > room {
            let step = own.len().div_ceil(room.max(1));
            own = own.into_iter().step_by(step).collect();
        }
        own.extend(compared);
        own.sort_unstable();
        own.dedup();
        own.truncate(MOST_BOUNDS);
        if own != DEFAULT_TIME_BOUNDS {
            family.bounds = Some(own);
        }
    }

    /// The finite numbers that `le` is compared with.
    fn compared(&self, wanted: &Wanted<'_>) -> Vec<f64> {
        let uses = wanted.uses.iter().filter_map(|(query, index, _)| self.used(*query, *index));
        let matchers = uses.flat_map(|used| &used.matchers).filter(|matcher| matcher.label == "le");
        let texts = matchers.flat_map(|matcher| match matcher.op {
            Op::Equal => vec![matcher.value.clone()],
            Op::Matches => labels::alternatives(&matcher.value),
            Op::NotEqual | Op::NotMatches => Vec::new(),
        });
        texts.filter_map(|text| text.parse::<f64>().ok()).filter(|bound| bound.is_finite()).collect()
    }

    /// Each label of the uses and the exposition, with the values that they name.
    fn values(&self, wanted: &Wanted<'_>) -> Values {
        let mut values = Values::new();
        for (query, index, _) in &wanted.uses {
            let Some(used) = self.used(*query, *index) else { continue };
            for label in &used.labels {
                values.entry(label.clone()).or_default();
            }
            for matcher in &used.matchers {
                let seen = values.entry(matcher.label.clone()).or_default();
                let named = match matcher.op {
                    Op::Equal | Op::NotEqual => vec![matcher.value.clone()],
                    Op::Matches | Op::NotMatches => labels::alternatives(&matcher.value),
                };
                seen.extend(
                    named.into_iter().filter(|text| !is_anything(text) && !text.contains(super::model::ANY)),
                );
            }
        }
        for label in &wanted.shown {
            values.entry(label.clone()).or_default();
        }
        for (label, seen) in wanted.exposed.iter().flat_map(|exposed| &exposed.labels) {
            values.entry(label.clone()).or_default().extend(seen.iter().cloned());
        }
        values.retain(|label, _| {
            scoretap_dialect::names::is_label(label)
                && !matches!(labels::origin(label), Origin::Target | Origin::Tenant)
        });
        values
    }
}

/// The selector whose series have a label that the result has, if no aggregation is between.
fn reached(labels: &Labels, label: &str) -> Option<usize> {
    match labels {
        Labels::Of(index) => Some(*index),
        Labels::Without(dropped, inner) if !dropped.contains(label) => reached(inner, label),
        Labels::With(added, inner) if !added.contains(label) => reached(inner, label),
        _ => None,
    }
}

fn is_anything(pattern: &str) -> bool {
    matches!(pattern, "" | ".*" | ".+")
}

fn uses(input: &Input) -> impl Iterator<Item = (usize, usize, &Use)> {
    input.queries.iter().enumerate().flat_map(|(query, found)| {
        let uses = match &found.content {
            Content::PromQl { uses, .. } => uses.as_slice(),
            Content::Other(_) => &[],
        };
        uses.iter().enumerate().map(move |(index, used)| (query, index, used))
    })
}

/// The verdict on a pattern that matches no known name.
fn unmatched(used: &Use) -> Verdict {
    let mut prefixes = used.name_matchers.iter().filter(|matcher| matcher.op == Op::Matches).map(|matcher| {
        let pattern = matcher.value.trim_start_matches(['^', '(']);
        pattern.split(|char: char| !is_name(&format!("_{char}"))).next().unwrap_or_default()
    });
    if let Some(owner) = prefixes.find_map(map::other) {
        return Verdict::NotOurs(format!("{owner} has it"));
    }
    let pattern = used.pattern().unwrap_or_default();
    Verdict::Empty(format!(
        "{pattern} matches no metric of the other queries, of an exposition or of a built-in dialect; give the \
         exposition of the app, or write the names, at most {MOST_NAMES}"
    ))
}

fn blank(query: &Query) -> Vec<Judgement> {
    let count = match &query.content {
        Content::PromQl { uses, .. } => uses.len(),
        Content::Other(_) => 0,
    };
    vec![Judgement { verdict: Verdict::Works, measure: None, labels: None }; count]
}

fn set(plan: &mut Plan, query: usize, index: usize, judgement: Judgement) {
    if let Some(place) = plan.judgements.get_mut(query).and_then(|all| all.get_mut(index)) {
        *place = judgement;
    }
}

fn shape(name: &str, wanted: &Wanted<'_>, planner: &Planner<'_>) -> Shape {
    match wanted.exposed.map(|exposed| exposed.kind) {
        Some(Kind::Counter) => return Shape::Counter,
        Some(Kind::Gauge) => return Shape::Gauge,
        Some(Kind::Histogram) => return Shape::Histogram,
        Some(Kind::Summary) => return Shape::Summary,
        Some(Kind::Untyped) | None => {}
    }
    let has_role = |role: Role| {
        let mut uses = wanted.uses.iter().filter_map(|(query, index, _)| planner.used(*query, *index));
        uses.any(|used| used.role == role)
    };
    if wanted.uses.iter().any(|(.., series)| *series != Series::Plain) || has_role(Role::Native) {
        Shape::Histogram
    } else if has_role(Role::Quantile) {
        Shape::Summary
    } else if has_role(Role::Counter) || has_role(Role::Count) || name.ends_with("_total") {
        Shape::Counter
    } else {
        Shape::Gauge
    }
}

fn hints(values: &Values, wanted: &Wanted<'_>, compared: Vec<f64>) -> Hints {
    let any =
        |test: fn(&str, &BTreeSet<String>) -> bool| values.iter().any(|(label, seen)| test(label, seen));
    let mut bounds = compared;
    bounds.extend(wanted.exposed.iter().flat_map(|exposed| &exposed.bounds));
    Hints {
        has_ending: any(labels::is_ending_label),
        has_class: any(labels::is_class),
        has_model: any(|label, _| label.contains("model") || label.contains("version")),
        bounds,
        is_exposed: wanted.exposed.is_some(),
    }
}

fn choice_reason(family: &Family) -> String {
    let what =
        if family.measure == Measure::Calls { "each call counts once" } else { "it is the time of a call" };
    format!("not decided: uncomment {} in the dialect if {what}", family.name)
}

#[cfg(test)]
mod tests;
