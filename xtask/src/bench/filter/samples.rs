//! The samples and their statistics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kind::{Kind, Path};
use super::variant::Variant;

/// Under which circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) workers: u32,
    pub(super) kind: Kind,
    pub(super) path: Path,
}

/// One figure of each sort, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) cpu: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Which epoch, and which round of it.
type Round = (usize, usize);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Samples {
    of: BTreeMap<(Cell, Variant), BTreeMap<Round, Sample>>,
}

/// A median and its quartiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Sample {
    /// A sample from the CPU time of one call and the durations of several.
    pub(super) fn new(cpu: Duration, mut took: Vec<Duration>) -> Self {
        took.sort();
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        let quantile = |part: f64| took.get(position(took.len(), part)).copied().map_or(0.0, micros);
        Self { cpu: micros(cpu), p50: quantile(0.5), p99: quantile(0.99) }
    }
}

impl Samples {
    pub(super) fn add(&mut self, variant: Variant, cell: Cell, round: Round, sample: Sample) {
        self.of.entry((cell, variant)).or_default().insert(round, sample);
    }

    pub(super) fn has(&self, cell: Cell) -> bool {
        self.of.contains_key(&(cell, Variant::Nothing))
    }

    /// All samples of one kind of figure.
    pub(super) fn spread(&self, variant: Variant, cell: Cell, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.rounds(variant, cell).map(|(_, sample)| figure(sample)).collect())
    }

    /// The difference to an Envoy with nothing, round by round.
    pub(super) fn added(&self, variant: Variant, cell: Cell, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.differences(variant, cell, figure).map(|(_, added)| added).collect())
    }

    /// The CPU that it adds where the machine did least else: the first deciles of both compared.
    pub(super) fn added_when_quiet(&self, variant: Variant, cell: Cell) -> f64 {
        let decile = |variant| {
            let mut all: Vec<f64> = self.rounds(variant, cell).map(|(_, sample)| sample.cpu).collect();
            all.sort_by(f64::total_cmp);
            all.get(position(all.len(), 0.1)).copied().unwrap_or(f64::NAN)
        };
        decile(variant) - decile(Variant::Nothing)
    }

    /// How many times as much CPU `variant` adds as `other`: of the medians, and of those of each epoch.
    pub(super) fn ratio(&self, variant: Variant, other: Variant, cell: Cell) -> Spread {
        let ratio = |epoch: Option<usize>| {
            let median = |variant| {
                let all = self.differences(variant, cell, |sample| sample.cpu);
                let of_epoch = all.filter(|((own, _), _)| epoch.is_none_or(|epoch| epoch == *own));
                Spread::of(of_epoch.map(|(_, added)| added).collect()).median
            };
            median(variant) / median(other)
        };
        let epochs =
            self.rounds(variant, cell).map(|((epoch, _), _)| *epoch).max().map_or(0, |last| last + 1);
        let each = Spread::of((0..epochs).map(|epoch| ratio(Some(epoch))).collect());
        Spread { median: ratio(None), ..each }
    }

    fn rounds(&self, variant: Variant, cell: Cell) -> impl Iterator<Item = (&Round, &Sample)> {
        self.of.get(&(cell, variant)).into_iter().flatten()
    }

    fn differences(
        &self,
        variant: Variant,
        cell: Cell,
        figure: fn(&Sample) -> f64,
    ) -> impl Iterator<Item = (Round, f64)> {
        let nothing = self.of.get(&(cell, Variant::Nothing));
        self.rounds(variant, cell)
            .filter_map(move |(round, sample)| Some((*round, figure(sample) - figure(nothing?.get(round)?))))
    }
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| values.get(position(values.len(), part)).copied().unwrap_or(f64::NAN);
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    /// For a table.
    pub(super) fn text(self) -> String {
        format!("{:.1} ({:.1} … {:.1})", self.median, self.low, self.high)
    }
}

/// Where in so many sorted values this part of them ends.
pub(super) fn position(count: usize, part: f64) -> usize {
    (count.saturating_sub(1) as f64 * part).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell = Cell { workers: 1, kind: Kind::Get, path: Path::Matched };

    #[test]
    fn what_is_added_is_compared_within_its_round() {
        let mut samples = Samples::default();
        for (round, drift) in [0.0, 100.0, 7.0].into_iter().enumerate() {
            for (variant, cpu) in
                [(Variant::Nothing, 50.0), (Variant::Logger, 54.0), (Variant::LuaSameJob, 70.0)]
            {
                let sample = Sample { cpu: cpu + drift, p50: 0.0, p99: 0.0 };
                samples.add(variant, CELL, (round, 0), sample);
            }
        }
        assert_eq!(samples.added(Variant::Logger, CELL, |sample| sample.cpu).text(), "4.0 (4.0 … 4.0)");
        assert_eq!(samples.ratio(Variant::Logger, Variant::LuaSameJob, CELL).text(), "0.2 (0.2 … 0.2)");
    }

    #[test]
    fn a_sample_has_quantiles_of_time() {
        let took = (1..=101).rev().map(Duration::from_micros).collect();
        let Sample { cpu, p50, p99 } = Sample::new(Duration::from_micros(2), took);
        assert_eq!((cpu, p50.round(), p99.round()), (2.0, 51.0, 100.0));
    }
}
