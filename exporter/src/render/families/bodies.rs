//! Families about bodies.

use super::{Facts, FamilyWriter, Group};
use crate::as_float;
use scoretap_dialect::Dimension;
use scoretap_dialect::bodies::{BodyCount, BodyHistogram};

use crate::reading::bodies::{Count, FixedCells, Labels};
use crate::reading::measured::earlier;
use crate::render::encode::{Buckets, Encoder, Value, bound_text};

impl<'a, E: Encoder> FamilyWriter<'a, E> {
    /// The bounds of a body's histogram to show, and the position of each among the fixed ones.
    pub(super) fn body_bounds(&self, of: BodyHistogram) -> Vec<(usize, f64)> {
        let wanted = self.family.bounds.as_deref();
        let is_shown =
            |bound: f64| wanted.is_none_or(|wanted| wanted.iter().any(|one| as_float(*one) == bound));
        of.bounds().into_iter().enumerate().filter(|(_, bound)| is_shown(*bound)).collect()
    }

    pub(super) fn body_counts(&mut self, of: BodyCount) {
        let mut counted: Vec<(Labels<'a>, Count)> = Vec::new();
        let series = self.series();
        for group in self.groups(&series) {
            counted.clear();
            for (_, measured) in group {
                for (labels, count) in measured.bodies.samples(of, measured.created) {
                    let Some(value) = self.shown(labels.value) else { continue };
                    let column = if self.family.has(Dimension::Column) { labels.column } else { "" };
                    let shown = Labels { column, value };
                    match counted.iter_mut().find(|(known, _)| *known == shown) {
                        Some((_, total)) => {
                            total.count = total.count.saturating_add(count.count);
                            total.created = earlier(total.created, count.created);
                        }
                        None => counted.push((shown, count)),
                    }
                }
            }
            let key = Facts::of_group(group);
            let prefix = self.prefix(key);
            for (Labels { column, value }, Count { count, created }) in &counted {
                self.sample(Facts { column, value, ..key }, prefix, Value::Count(*count), *created);
            }
        }
    }

    pub(super) fn body_histograms(&mut self, of: BodyHistogram, bounds: &[(usize, f64)]) {
        let series = self.series();
        for group in self.groups(&series) {
            let merged = self.merged(group, of);
            let key = Facts::of_group(group);
            let prefix = self.prefix(key);
            for (value, FixedCells { cells, sum, created }) in &merged {
                let mut below = 0_u64;
                let running: Vec<u64> = cells
                    .iter()
                    .map(|count| {
                        below = below.saturating_add(*count);
                        below
                    })
                    .collect();
                let up_to = |index: usize| running.get(index).copied().unwrap_or(below);
                let buckets = Buckets {
                    cumulative: bounds.iter().map(|(index, _)| up_to(*index)).collect(),
                    count: below,
                    sum: of.has_sum().then(|| as_float(*sum) / self.per_unit()),
                    native: None,
                    created: *created,
                };
                self.distribution(Facts { column: value, value, ..key }, prefix, &buckets);
            }
        }
    }

    /// Every cell of numeric predictions, including empty ones: a rule that compares two hours needs both. Without a
    /// label for the cell, their sum.
    pub(super) fn value_cells(&mut self) {
        let bounds = BodyHistogram::Value.bounds();
        let bins: Vec<String> = bounds.into_iter().chain([f64::INFINITY]).map(bound_text).collect();
        let series = self.series();
        for group in self.groups(&series) {
            let merged = self.merged(group, BodyHistogram::Value);
            let key = Facts::of_group(group);
            let prefix = self.prefix(key);
            for (_, FixedCells { cells, created, .. }) in &merged {
                if !self.family.has(Dimension::Bin) {
                    let count = cells.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
                    self.sample(key, prefix, Value::Count(count), *created);
                    continue;
                }
                for (index, value) in bins.iter().enumerate() {
                    let count = cells.get(index).copied().unwrap_or(0);
                    self.sample(Facts { value, ..key }, prefix, Value::Count(count), *created);
                }
            }
        }
    }

    /// The histograms of a group, added up for each value that this family shows.
    fn merged(&self, group: Group<'_, 'a>, of: BodyHistogram) -> Vec<(&'a str, FixedCells)> {
        let mut merged: Vec<(&'a str, FixedCells)> = Vec::new();
        for (value, cells) in group.iter().flat_map(|(_, measured)| measured.bodies.histograms_of(of)) {
            let Some(shown) = self.shown(value) else { continue };
            match merged.iter_mut().find(|(known, _)| *known == shown) {
                Some((_, total)) => total.merge(cells),
                None => merged.push((shown, cells.clone())),
            }
        }
        merged
    }

    /// The name of a label's value in this family; empty without such a label, `None` if the family leaves it out.
    fn shown(&self, value: &'a str) -> Option<&'a str> {
        let Self { family, .. } = self;
        if !family.values.is_empty() && family.values.iter().all(|wanted| wanted != value) {
            return None;
        }
        let dimension = family.measure.body_dimension();
        let label = family.labels.iter().find(|label| Some(label.value) == dimension);
        Some(label.map_or("", |label| label.renamed(value)))
    }
}
