//! Counts what insight read in the bodies of a series.

use std::borrow::Cow;

use scoretap_scan::cells::{FIRST_TOKEN_BOUNDS, ROW_BOUNDS, TOKEN_BOUNDS, TOKEN_TIME_BOUNDS, VALUE_CELLS};
use scoretap_scan::record::{ColumnCounts, Finding, Finish, Generation, Kind, Record, Rows, Scanned, Tokens};

use super::{CounterId, Stats, encoded};
use crate::config::Insight;
use crate::histogram::cell_index;
use crate::name::{Series, Stat};
use crate::outcome::Outcome;
use crate::reading::{ColumnKind, Reading, Spread, StreamEnd, Summed, TokenType, Usage};
use crate::route::Route;
use crate::series::{Admission, Evidence, SeriesTable};

/// The most that one answer adds to a counter: three days in nanoseconds.
const MOST_OF_ONE_ANSWER: u64 = 1 << 48;

/// The first position of a cell of a column, after its kinds.
const FIRST_CELL: usize = ColumnKind::ALL.len();
/// The number of counters of a column.
const COLUMN_COUNTERS: usize = FIRST_CELL + VALUE_CELLS;

/// The counters of one series, which are defined at first use.
#[derive(Debug)]
pub(super) struct BodyCounters {
    /// By [`Reading::slot`].
    counters: Vec<Option<CounterId>>,
    /// The classes with counters of their own, with the numbers of these. All VMs share their limit.
    classes: SeriesTable<Option<usize>>,
    /// The fingerprint of the last answer on this worker; 0 before the first.
    last: u64,
    /// Whether the input columns of this series are counted, once known.
    has_columns: Option<bool>,
    /// By column, and then by the position of a kind or, after the kinds, of a cell.
    columns: Vec<Option<CounterId>>,
}

impl BodyCounters {
    pub(super) fn new(series: &Series<'_>, insight: &Insight) -> Self {
        let mut key = "scoretap.classes.".to_owned();
        series.encode(&mut key);
        Self {
            counters: Vec::new(),
            classes: SeriesTable::with_key(Cow::Owned(key), insight.classes),
            last: 0,
            has_columns: None,
            columns: Vec::new(),
        }
    }
}

/// Counts one answer with a status of 2xx.
pub(super) struct BodyCounter<'a, S> {
    pub(super) insight: &'a Insight,
    pub(super) series: &'a Series<'static>,
    pub(super) counters: &'a mut BodyCounters,
    /// The series whose input columns are counted.
    pub(super) with_columns: &'a mut SeriesTable<Option<usize>>,
    pub(super) name: &'a mut String,
    pub(super) stats: &'a S,
}

impl<S: Stats> BodyCounter<'_, S> {
    pub(super) fn count(mut self, record: &Record, route: &Route, outcome: Outcome) {
        self.add(Reading::Scanned(record.scanned), 1);
        self.add(Reading::Cut, u64::from(record.cut));
        if record.error != Finding::Nothing && self.insight.reads(route) {
            self.add(Reading::Errors, 1);
        }
        if self.insight.predictions
            && let Some(rows) = &record.rows
        {
            self.predictions(record, rows);
        }
        if self.insight.llm {
            self.generation(record, route, outcome);
        }
        if !record.columns.is_empty() {
            self.columns(&record.columns);
        }
    }

    fn columns(&mut self, columns: &[ColumnCounts]) {
        if !self.counts_columns() {
            let values = columns.iter().map(|counts| u64::from(counts.total()));
            return self.add(Reading::Cut, values.fold(0, u64::saturating_add));
        }
        let insight = self.insight;
        for ColumnCounts { column: number, kinds, out_of_range, cells } in columns {
            let Some(column) = insight.columns.get(usize::from(*number)) else { continue };
            let first = usize::from(*number).saturating_mul(COLUMN_COUNTERS);
            for (position, kind) in ColumnKind::ALL.into_iter().enumerate() {
                let amount = match kind {
                    ColumnKind::Kind(kind) => kinds.get(kind),
                    ColumnKind::OutOfRange => *out_of_range,
                };
                let slot = first.saturating_add(position);
                self.add_to(slot, u64::from(amount), || Reading::Column(column.label(), kind));
            }
            for (cell, count) in cells {
                let slot = first.saturating_add(FIRST_CELL).saturating_add(usize::from(*cell));
                self.add_to(slot, u64::from(*count), || Reading::ColumnCell(column.label(), *cell));
            }
        }
    }

    /// Whether the series is one of the first with input columns.
    fn counts_columns(&mut self) -> bool {
        if let Some(is_known) = self.counters.has_columns {
            return is_known;
        }
        self.name.clear();
        self.series.encode(self.name);
        let admission = self.with_columns.admit(self.name, Evidence::Shown, self.stats);
        self.counters.has_columns = match admission {
            Admission::Admitted => Some(true),
            Admission::NotYet => None,
            Admission::Never => Some(false),
        };
        admission == Admission::Admitted
    }

    fn predictions(&mut self, record: &Record, rows: &Rows) {
        if rows.rows == 0 && (record.error != Finding::Nothing || record.scanned != Scanned::Whole) {
            return;
        }
        self.cell(Spread::Rows, &ROW_BOUNDS, rows.rows);
        self.add(Reading::Sum(Summed::Rows), rows.rows);
        for kind in Kind::ALL {
            self.add(Reading::Values(kind), u64::from(rows.kinds.get(kind)));
        }
        self.cells(Spread::Value, &rows.cells);
        if self.insight.classes > 0 {
            rows.classes.iter().for_each(|(name, count)| self.class(name, *count));
            self.add(Reading::Class(None), u64::from(rows.other_classes));
        }
        // The rest of a body that was not read may differ.
        if record.scanned == Scanned::Whole && rows.rows > 0 && rows.fingerprint != 0 {
            let last = std::mem::replace(&mut self.counters.last, rows.fingerprint);
            self.add(Reading::Repeats, u64::from(last == rows.fingerprint));
        }
    }

    fn class(&mut self, name: &[u8], count: u32) {
        let count = u64::from(count);
        let admitted = std::str::from_utf8(name).ok().filter(|name| {
            self.counters.classes.admit(name, Evidence::Shown, self.stats) == Admission::Admitted
        });
        let Some(name) = admitted else { return self.add(Reading::Class(None), count) };
        let known = self.counters.classes.get(name).and_then(|counter| u32::try_from(counter).ok());
        let counter = known.map(CounterId).or_else(|| self.define(Reading::Class(Some(Cow::Borrowed(name)))));
        if let Some(counter) = counter {
            *self.counters.classes.get(name) = usize::try_from(counter.0).ok();
            self.stats.add(counter, count);
        }
    }

    fn generation(&mut self, record: &Record, route: &Route, outcome: Outcome) {
        let generation = record.generation.as_ref();
        let tokens = generation.map(|generation| generation.tokens).unwrap_or_default();
        if tokens.is_reported() {
            self.add(Reading::Usage(Usage::Reported), 1);
        } else if route.is_llm() {
            self.add(Reading::Usage(Usage::Absent), 1);
        }
        self.tokens(tokens);
        let Some(generation) = generation else { return };
        for reason in Finish::ALL {
            self.add(Reading::Finish(reason), u64::from(generation.finish.get(reason)));
        }
        if generation.is_stream {
            self.add(Reading::Stream(stream_end(generation, record.error, outcome)), 1);
            self.stream(generation);
        }
    }

    fn tokens(&mut self, tokens: Tokens) {
        let Tokens { input, output, cached, reasoning } = tokens;
        let types = [
            (TokenType::Input, input, Some(Spread::InputTokens)),
            (TokenType::Output, output, Some(Spread::OutputTokens)),
            (TokenType::Cached, cached, None),
            (TokenType::Reasoning, reasoning, None),
        ];
        for (token_type, count, spread) in types {
            let Some(count) = count else { continue };
            self.add(Reading::Tokens(token_type), count);
            if let Some(spread) = spread {
                self.cell(spread, &TOKEN_BOUNDS, count);
            }
        }
    }

    fn stream(&mut self, generation: &Generation) {
        self.add(Reading::Events, generation.content_events);
        self.cells(Spread::Gap, &generation.gaps);
        let Some(first) = generation.first_content else { return };
        self.cell(Spread::FirstToken, &FIRST_TOKEN_BOUNDS, first);
        self.add(Reading::Sum(Summed::FirstToken), first);
        let between = generation.last_content.map_or(0, |last| last.saturating_sub(first));
        self.add(Reading::Sum(Summed::Gap), between);
        let per_token =
            generation.tokens.output.and_then(|output| between.checked_div(output.checked_sub(1)?));
        // All tokens in one event take no time.
        if let Some(time) = per_token.filter(|_| generation.content_events > 1) {
            self.cell(Spread::TokenTime, &TOKEN_TIME_BOUNDS, time);
            self.add(Reading::Sum(Summed::TokenTime), time);
        }
    }

    fn cell(&mut self, spread: Spread, bounds: &[u64], value: u64) {
        let position = u8::try_from(cell_index(bounds, value)).unwrap_or(u8::MAX);
        self.add(Reading::Cell(spread, position), 1);
    }

    fn cells(&mut self, spread: Spread, cells: &[(u8, u32)]) {
        for (position, count) in cells {
            self.add(Reading::Cell(spread, *position), u64::from(*count));
        }
    }

    fn add(&mut self, reading: Reading<'_>, amount: u64) {
        let Some(slot) = reading.slot().filter(|_| amount > 0) else { return };
        let known = known(&self.counters.counters, slot);
        let Some(counter) = known.or_else(|| self.define(reading)) else { return };
        remember(&mut self.counters.counters, slot, counter);
        // Servers may report any number. Without a limit, a few answers would make the counter wrap.
        self.stats.add(counter, amount.min(MOST_OF_ONE_ANSWER));
    }

    fn add_to<'r>(&mut self, slot: usize, amount: u64, reading: impl FnOnce() -> Reading<'r>) {
        if amount > 0
            && let Some(counter) = known(&self.counters.columns, slot).or_else(|| self.define(reading()))
        {
            remember(&mut self.counters.columns, slot, counter);
            self.stats.add(counter, amount);
        }
    }

    fn define(&mut self, reading: Reading<'_>) -> Option<CounterId> {
        let stat = Stat::Read { series: self.series.clone(), reading };
        self.stats.counter(encoded(self.name, &stat))
    }
}

fn known(counters: &[Option<CounterId>], slot: usize) -> Option<CounterId> {
    counters.get(slot).copied().flatten()
}

fn remember(counters: &mut Vec<Option<CounterId>>, slot: usize, counter: CounterId) {
    if counters.len() <= slot {
        counters.resize(slot.saturating_add(1), None);
    }
    counters.get_mut(slot).into_iter().for_each(|known| *known = Some(counter));
}

fn stream_end(generation: &Generation, error: Finding, outcome: Outcome) -> StreamEnd {
    match outcome {
        // Some servers send their usual end after an error.
        _ if error == Finding::Structured => StreamEnd::CutOff,
        _ if generation.is_ended => StreamEnd::Complete,
        // Some servers end a stream with the connection only.
        Outcome::Success => StreamEnd::Complete,
        Outcome::Cancelled => StreamEnd::Abandoned,
        Outcome::InvalidInput
        | Outcome::Unauthorized
        | Outcome::NotFound
        | Outcome::RateLimited
        | Outcome::ModelError
        | Outcome::Timeout
        | Outcome::Unavailable
        | Outcome::Overloaded
        | Outcome::Truncated
        | Outcome::ReportedError => StreamEnd::CutOff,
    }
}
