//! Writes the families of the dialects: groups what was measured by labels, adds it up and encodes it.

mod bodies;
mod facts;

use std::collections::BTreeMap;
use std::time::SystemTime;

use scoretap_core::histogram::Histogram;
use scoretap_core::name::Ended;
use scoretap_core::outcome::{Outcome, Status};

use self::facts::{Code, End, Facts, OF_KEY};
use crate::as_float;
use crate::reading::measured::{Calls, Distribution, Key, Measured, Reading, bucket_index, earlier};
use crate::render::RenderConfig;
use crate::render::encode::{Buckets, Encoder, Heading, Kind, Native, Value};
use scoretap_dialect::{Dimension, Family, Label, Measure};

/// Writes the families of the configured dialects. A family without samples is left out.
pub fn write(config: &RenderConfig, reading: &Reading, encoder: &mut impl Encoder) {
    for family in &config.families {
        let of_key = OF_KEY.into_iter().filter(|dimension| family.has(*dimension)).collect();
        FamilyWriter { family, of_key, config, reading, encoder, labels: Vec::new(), common: 0 }.run();
    }
}

/// Families, and the bounds that each asks for but the filter does not have.
pub fn missing_bounds<'a>(config: &'a RenderConfig, reading: &Reading) -> Vec<(&'a str, Vec<u64>)> {
    let of = |family: &'a Family| {
        let there = match family.measure {
            Measure::Distribution(histogram) => reading.bounds.of(histogram),
            Measure::BodyDistribution(histogram) => histogram.time_bounds(),
            _ => return None,
        };
        let wanted = family.bounds.iter().flatten().copied();
        let missing: Vec<u64> = wanted.filter(|bound| there.binary_search(bound).is_err()).collect();
        (!missing.is_empty()).then_some((family.name.as_str(), missing))
    };
    config.families.iter().filter_map(of).collect()
}

/// Families by code for which the filter does not tell the codes of durations.
pub fn missing_codes<'a>(config: &'a RenderConfig, reading: &Reading) -> Vec<&'a str> {
    let durations = || {
        let of = |status| {
            reading.series.iter().flat_map(move |(_, one)| one.distributions(Histogram::Duration, status))
        };
        Status::ALL.into_iter().flat_map(of)
    };
    let asks = |family: &&Family| family.is_by_code() && family.measure.is_time();
    let families = config.families.iter().filter(asks).map(|family| family.name.as_str());
    let mut families: Vec<&str> = families.collect();
    if families.is_empty() || durations().all(|(ended, _)| ended.code.is_some()) {
        families.clear();
    }
    families
}

/// Writes one family.
struct FamilyWriter<'a, E> {
    family: &'a Family,
    /// The labels of a key that the family has, in the order of keys.
    of_key: Vec<Dimension>,
    config: &'a RenderConfig,
    reading: &'a Reading,
    encoder: &'a mut E,
    /// The encoded labels of the current sample; a field so that the memory is reused.
    labels: Vec<u8>,
    /// The length of the labels that all samples of a group share.
    common: usize,
}

/// All series with the same labels in this family.
type Group<'g, 'a> = &'g [&'a (Key, Measured)];

impl<'a, E: Encoder> FamilyWriter<'a, E> {
    fn run(&mut self) {
        let bounds = self.bounds();
        let Family { name, help, measure, kind, .. } = self.family;
        let cells = match measure {
            Measure::BodyDistribution(histogram) => self.body_bounds(*histogram),
            _ => Vec::new(),
        };
        let fixed = cells.iter().map(|(_, bound)| *bound);
        let shown: Vec<f64> = bounds
            .iter()
            .map(|bound| as_float(*bound))
            .chain(fixed)
            .map(|bound| bound / self.per_unit())
            .collect();
        self.encoder.family(Heading { name, help, unit: self.unit(), kind: *kind }, &shown);
        match measure {
            Measure::Calls => self.calls(),
            Measure::Distribution(histogram) => self.distributions(*histogram, &bounds),
            Measure::InFlight => {
                if let Some(calls) = self.reading.in_flight {
                    self.sample(Facts::default(), 0, Value::Float(as_float(calls)), None);
                }
            }
            Measure::Models => self.models(),
            Measure::Bodies(count) => self.body_counts(*count),
            Measure::BodyDistribution(histogram) => self.body_histograms(*histogram, &cells),
            Measure::ValueCells => self.value_cells(),
        }
    }

    /// The bounds to show. A bound that the filter does not have is left out rather than guessed.
    fn bounds(&self) -> Vec<u64> {
        let Measure::Distribution(histogram) = self.family.measure else { return Vec::new() };
        let there = self.reading.bounds.of(histogram);
        match &self.family.bounds {
            None => there.to_vec(),
            Some(wanted) => {
                wanted.iter().copied().filter(|bound| there.binary_search(bound).is_ok()).collect()
            }
        }
    }

    /// The unit, if the name ends with it.
    fn unit(&self) -> Option<&'static str> {
        let Family { name, measure, kind, unit, .. } = self.family;
        let name = match kind {
            Kind::Counter => name.strip_suffix("_total")?,
            Kind::Histogram | Kind::Summary => name,
            Kind::Gauge | Kind::Info => return None,
        };
        let unit = match measure {
            _ if measure.is_time() => unit.as_str(),
            Measure::Distribution(_) => "bytes",
            _ => return None,
        };
        name.strip_suffix(unit)?.ends_with('_').then_some(unit)
    }

    const fn per_unit(&self) -> f64 {
        if self.family.measure.is_time() { self.family.unit.nanoseconds() } else { 1.0 }
    }

    /// The series that this family can show, sorted by their labels.
    fn series(&self) -> Vec<&'a (Key, Measured)> {
        let by_endpoint = self.family.has(Dimension::Method) || self.family.has(Dimension::Template);
        let of_bodies = self.family.measure.is_of_bodies();
        let is_shown = |(key, measured): &&(Key, Measured)| {
            !(by_endpoint && key.method.is_empty() || of_bodies && measured.bodies.is_empty())
                && self.family.is_of_template(&key.template)
        };
        let mut series: Vec<_> = self.reading.series.iter().filter(is_shown).collect();
        // Stable and quick: families with all labels of a key in order are already sorted.
        series.sort_by(|(one, _), (other, _)| self.labels_of(one).cmp(self.labels_of(other)));
        series
    }

    fn groups<'g>(&self, series: &'g [&'a (Key, Measured)]) -> Vec<Group<'g, 'a>> {
        series.chunk_by(|(one, _), (other, _)| self.labels_of(one).eq(self.labels_of(other))).collect()
    }

    fn labels_of<'k>(&self, key: &'k Key) -> impl Iterator<Item = &'k str> {
        self.of_key.iter().map(|dimension| Facts::of_key(key).get(*dimension))
    }

    /// A known series has a sample for every status and kind of failure that can occur, and for the codes that the
    /// dialect names, even at 0. A family without labels has one series from the start.
    fn calls(&mut self) {
        let by_code = self.family.is_by_code();
        let series = self.series();
        let mut groups = self.groups(&series);
        if groups.is_empty() && self.family.labels.is_empty() {
            groups.push(&[]);
        }
        let expected = self.expected_calls();
        let mut counted: Vec<(End<'a>, Total)> = Vec::new();
        for group in groups {
            let zero = Total { count: 0, created: self.known_since(group) };
            counted.clear();
            counted.extend(expected.iter().map(|end| (*end, zero)));
            for Calls { outcome, code, count, created } in
                group.iter().flat_map(|(_, measured)| &measured.calls)
            {
                if self.family.shows(outcome.status()) {
                    let end = self.end_of_call(*outcome, Some(*code));
                    match counted.iter_mut().find(|(known, _)| *known == end) {
                        Some((_, total)) => {
                            total.count = total.count.saturating_add(*count);
                            total.created = earlier(total.created, *created);
                        }
                        None => counted.push((end, Total { count: *count, created: *created })),
                    }
                }
            }
            if by_code {
                counted.sort_unstable_by_key(|(end, _)| *end);
            }
            let key = Facts::of_group(group);
            let prefix = self.prefix(key);
            for (end, Total { count, created }) in &counted {
                self.sample(Facts { end: *end, ..key }, prefix, Value::Count(*count), *created);
            }
        }
    }

    /// When the first series of a group appeared. A group without series exists since Envoy's start.
    fn known_since(&self, group: Group<'_, '_>) -> Option<SystemTime> {
        let created = group.iter().map(|(_, measured)| measured.created);
        created.reduce(earlier).unwrap_or(self.reading.started)
    }

    /// The samples that a known series has even before their first call.
    fn expected_calls(&self) -> Vec<End<'a>> {
        if self.family.is_by_code() {
            return self.expected_codes();
        }
        // Without insight, no body can report an error.
        let occurs = |outcome| outcome != Outcome::ReportedError || self.reading.insight_seen.is_some();
        let shown = |outcome: &Outcome| occurs(*outcome) && self.family.shows(outcome.status());
        let outcomes = Outcome::ALL.into_iter().filter(shown);
        distinct(outcomes.map(|outcome| self.end_of_call(outcome, None)))
    }

    fn expected_codes(&self) -> Vec<End<'a>> {
        let codes = self.family.labels.iter().flat_map(|label| &label.from_the_start);
        distinct(codes.map(|code| self.with_code(End::default(), *code)))
    }

    fn end_of_call(&self, outcome: Outcome, code: Option<u16>) -> End<'a> {
        let end = End {
            status: self.named(Dimension::Status, outcome.status().as_str()),
            error_type: outcome.error_type().map_or("", |kind| self.named(Dimension::ErrorType, kind)),
            ..End::default()
        };
        code.map_or(end, |code| self.with_code(end, code))
    }

    fn with_code(&self, mut end: End<'a>, code: u16) -> End<'a> {
        for label in self.family.labels.iter().filter(|label| label.value.is_code()) {
            let name = label.renamed_code(code);
            match label.value {
                Dimension::CodeClass => end.code_class = name.unwrap_or_default(),
                _ => end.code = name.map_or(Code::Number(code), Code::Named),
            }
        }
        end
    }

    /// This family's name for a value; empty if it has no label for it.
    fn named(&self, dimension: Dimension, value: &'static str) -> &'a str {
        let label = self.family.labels.iter().find(|label| label.value == dimension);
        label.map_or("", |label| label.renamed(value))
    }

    /// A known series has the durations of its successes, even at 0. Other distributions appear with their first value.
    fn distributions(&mut self, histogram: Histogram, bounds: &[u64]) {
        let series = self.series();
        let mut groups = self.groups(&series);
        if groups.is_empty() && self.family.labels.is_empty() && histogram == Histogram::Duration {
            groups.push(&[]);
        }
        if self.family.is_by_code() {
            return self.distributions_by_code(groups, histogram, bounds);
        }
        let named = |status: &Status| self.named(Dimension::Status, status.as_str());
        // Statuses with the same name in this family share a series; without a label, all of them do.
        let mut statuses: Vec<Vec<Status>> = Vec::new();
        for status in Status::ALL.into_iter().filter(|status| self.family.shows(*status)) {
            match statuses.iter_mut().find(|with| with.first().map(named) == Some(named(&status))) {
                Some(with) => with.push(status),
                None => statuses.push(vec![status]),
            }
        }
        let mut buckets = Buckets::default();
        for group in groups {
            let key = Facts::of_group(group);
            let mut prefix = None;
            for with in &statuses {
                let expected = histogram == Histogram::Duration && with.contains(&Status::Success);
                let used = group.iter().flat_map(|(_, measured)| {
                    with.iter().flat_map(|status| measured.distributions(histogram, *status))
                });
                let used = used.map(|(_, distribution)| distribution);
                if fill(&mut buckets, used, bounds, self.per_unit(), self.is_native(histogram)) || expected {
                    if expected {
                        buckets.created = earlier(buckets.created, self.known_since(group));
                    }
                    let status =
                        with.first().map_or("", |status| self.named(Dimension::Status, status.as_str()));
                    let facts = Facts { end: End { status, ..End::default() }, ..key };
                    let prefix = *prefix.get_or_insert_with(|| self.prefix(key));
                    self.distribution(facts, prefix, &buckets);
                }
            }
        }
    }

    /// Only the values whose codes the filter counted: with `duration_codes` in its configuration.
    fn distributions_by_code(&mut self, groups: Vec<Group<'_, 'a>>, histogram: Histogram, bounds: &[u64]) {
        let expected = self.expected_codes();
        let mut buckets = Buckets::default();
        for group in groups {
            let key = Facts::of_group(group);
            let mut used: BTreeMap<End<'a>, Vec<&'a Distribution>> =
                expected.iter().map(|end| (*end, Vec::new())).collect();
            let shown = Status::ALL.into_iter().filter(|status| self.family.shows(*status));
            let values = shown.flat_map(|status| {
                group.iter().flat_map(move |(_, measured)| measured.distributions(histogram, status))
            });
            for (Ended { status, code }, distribution) in values {
                let Some(code) = code else { continue };
                let status = self.named(Dimension::Status, status.as_str());
                let end = self.with_code(End { status, ..End::default() }, code);
                used.entry(end).or_default().push(distribution);
            }
            let prefix = self.prefix(key);
            for (end, values) in used {
                fill(&mut buckets, values.into_iter(), bounds, self.per_unit(), self.is_native(histogram));
                if expected.contains(&end) {
                    buckets.created = earlier(buckets.created, self.known_since(group));
                }
                self.distribution(Facts { end, ..key }, prefix, &buckets);
            }
        }
    }

    fn is_native(&self, histogram: Histogram) -> bool {
        self.reading.is_native && histogram == Histogram::Duration
    }

    /// A sample of a family that shows a distribution.
    fn distribution(&mut self, facts: Facts<'_>, prefix: usize, buckets: &Buckets) {
        self.sample_labels(facts, prefix);
        match self.family.kind {
            Kind::Summary => self.encoder.summary(&self.labels, buckets),
            Kind::Counter => {
                let sum = Value::Float(buckets.sum.unwrap_or_default());
                self.encoder.sample(&self.labels, sum, buckets.created);
            }
            Kind::Histogram | Kind::Gauge | Kind::Info => self.encoder.histogram(&self.labels, buckets),
        }
    }

    fn models(&mut self) {
        let identity = &self.config.identity;
        let series = self.series();
        for group in self.groups(&series) {
            let key = Facts::of_group(group);
            let facts = Facts { deployment: identity.deployment(), framework: identity.framework(), ..key };
            self.labels.clear();
            self.sample(facts, 0, Value::Count(1), None);
        }
    }

    /// Encodes the leading labels that all samples of a group share. Returns their number.
    fn prefix(&mut self, key: Facts<'_>) -> usize {
        self.labels.clear();
        let family = self.family;
        let common = family.labels.iter().take_while(|label| OF_KEY.contains(&label.value));
        let mut count = 0;
        for label in common {
            self.encoder.label(&label.name, key.get(label.value), &mut self.labels);
            count += 1;
        }
        self.common = self.labels.len();
        count
    }

    fn sample(&mut self, facts: Facts<'_>, prefix: usize, value: Value, created: Option<SystemTime>) {
        self.sample_labels(facts, prefix);
        self.encoder.sample(&self.labels, value, created);
    }

    /// Encodes the labels after the first `prefix`, which are already encoded.
    fn sample_labels(&mut self, facts: Facts<'_>, prefix: usize) {
        self.labels.truncate(if prefix == 0 { 0 } else { self.common });
        let family = self.family;
        for Label { name, value, text, .. } in family.labels.iter().skip(prefix) {
            match value {
                Dimension::Code => match facts.end.code {
                    Code::Number(code) => {
                        self.encoder.label(name, itoa::Buffer::new().format(code), &mut self.labels);
                    }
                    Code::Named(text) => self.encoder.label(name, text, &mut self.labels),
                },
                Dimension::Fixed => self.encoder.label(name, text, &mut self.labels),
                _ => self.encoder.label(name, facts.get(*value), &mut self.labels),
            }
        }
        for (name, value) in &self.config.constants {
            self.encoder.label(name, value, &mut self.labels);
        }
    }
}

/// A counter's value, and when it was 0.
#[derive(Clone, Copy)]
struct Total {
    count: u64,
    created: Option<SystemTime>,
}

fn distinct<'a>(ends: impl Iterator<Item = End<'a>>) -> Vec<End<'a>> {
    let mut distinct = Vec::new();
    for end in ends {
        if !distinct.contains(&end) {
            distinct.push(end);
        }
    }
    distinct
}

/// Adds up distributions. Returns whether there were any.
fn fill<'a>(
    buckets: &mut Buckets,
    distributions: impl Iterator<Item = &'a Distribution>,
    bounds: &[u64],
    per_unit: f64,
    is_native: bool,
) -> bool {
    buckets.cumulative.clear();
    buckets.cumulative.resize(bounds.len(), 0);
    buckets.count = 0;
    buckets.created = None;
    buckets.native = is_native.then(Native::default);
    let mut any = false;
    let mut sum = 0_u64;
    for distribution in distributions {
        any = true;
        sum = sum.saturating_add(distribution.sum);
        buckets.created = earlier(buckets.created, distribution.created);
        for (cell, values) in &distribution.cells {
            buckets.count = buckets.count.saturating_add(*values);
            let bucket = bucket_index(bounds, *cell);
            if let Some(sum) = buckets.cumulative.get_mut(bucket) {
                *sum = sum.saturating_add(*values);
            }
            if let Some(native) = &mut buckets.native {
                native.add(*cell, *values);
            }
        }
    }
    let mut below = 0_u64;
    for bucket in &mut buckets.cumulative {
        below = below.saturating_add(*bucket);
        *bucket = below;
    }
    buckets.sum = Some(as_float(sum) / per_unit);
    any
}

#[cfg(test)]
mod tests {
    use scoretap_core::histogram::{Cell, NativeBucket};

    use super::*;

    fn cell(le: Option<u64>, count: u64) -> (Cell, u64) {
        (Cell { le, native: None }, count)
    }

    #[track_caller]
    fn check(cells: &[(Cell, u64)], bounds: &[u64], cumulative: &[u64], count: u64) {
        let distribution = Distribution { cells: cells.to_vec(), sum: 3, created: None };
        let expected =
            Buckets { cumulative: cumulative.to_vec(), count, sum: Some(1.5), native: None, created: None };
        let mut buckets = Buckets::default();
        assert!(fill(&mut buckets, [&distribution].into_iter(), bounds, 2.0, false));
        assert_eq!(buckets, expected);
    }

    #[test]
    fn buckets_are_cumulative() {
        check(&[], &[10, 20], &[0, 0], 0);
        check(&[cell(Some(20), 2), cell(None, 4), cell(Some(10), 1)], &[10, 20], &[1, 3], 7);
    }

    #[test]
    fn parts_of_a_cell_add_up() {
        let part = |native, count| (Cell { le: Some(10), native: Some(native) }, count);
        let parts =
            [part(NativeBucket::Zero, 1), part(NativeBucket::Index(-3), 2), part(NativeBucket::Index(4), 4)];
        check(&parts, &[10, 20], &[7, 7], 7);
    }

    #[test]
    fn cell_of_former_bounds_counts_for_next_bound() {
        check(&[cell(Some(5), 1), cell(Some(15), 2), cell(Some(99), 4)], &[10, 20], &[1, 3], 7);
    }

    #[test]
    fn no_bounds_leave_the_count() {
        check(&[cell(Some(5), 1), cell(None, 2)], &[], &[], 3);
    }
}
