//! The grammar of Scoretap's counters in Envoy's stat store: the seam between filter and exporter.
//!
//! ```text
//! scoretap.call.SERIES.ENDPOINT.CODE.OUTCOME                   calls with this status and outcome
//! scoretap.cell.SERIES.ENDPOINT.HISTOGRAM.ENDED.LE[.NATIVE]    values in one cell
//! scoretap.sum.SERIES.ENDPOINT.HISTOGRAM.ENDED                 sum of the values, in ns or bytes
//! scoretap.read.SERIES.READING                                 what insight read in bodies: see [`reading`](crate::reading)
//! scoretap.insight_seen                                        calls that insight saw on its routes
//! scoretap.insight_lost                                        records that insight could not hand over
//! scoretap.unmatched                                           calls that no route matched
//! scoretap.config                                              gauge: 1 configured, 0 configuration invalid
//! scoretap.bounds.HISTOGRAM.LE_LE_…                            gauge: when these bounds were configured
//!
//! SERIES    ROUTE.MODEL.VERSION
//! ENDPOINT  METHOD.TEMPLATE
//! ENDED     STATUS[-CODE]
//! ```
//!
//! A word keeps `[A-Za-z0-9_/{}-]`. Every other byte becomes `%XX`, so a word contains neither Envoy's separators nor
//! line breaks. An absent model or version is `~`, and an empty word is `%`. All models beyond the limit share `*.*` as
//! MODEL.VERSION. Decoding rejects every name that encoding does not write, so the two are inverse.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::hex;
use crate::histogram::{Cell, Histogram, NativeBucket};
use crate::outcome::{Outcome, Status};
use crate::reading::Reading;

/// The prefix that Envoy adds to the name of every counter of a module.
pub const ENVOY_PREFIX: &str = "wasmcustom.";

/// The prefix of every name in this grammar.
pub const PREFIX: &str = "scoretap.";

const ABSENT: &str = "~";
const EMPTY: &str = "%";
pub(crate) const OTHER: &str = "*";

/// The route and model of calls that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series<'a> {
    /// The route's name.
    pub route: Cow<'a, str>,
    /// The model.
    pub model: Model<'a>,
}

/// The model of a call, as named by the call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model<'a> {
    /// The names in the call. Without them, the pod's identity applies.
    Named {
        /// The model's name.
        model: Option<Cow<'a, str>>,
        /// The model's version.
        version: Option<Cow<'a, str>>,
    },
    /// Models beyond the limit of series, and names that cannot be labels.
    Other,
}

/// The method and template of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint<'a> {
    /// The method of the request.
    pub method: Cow<'a, str>,
    /// The template that the path matched.
    pub template: Cow<'a, str>,
}

/// A Scoretap statistic in Envoy's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stat<'a> {
    /// A counter of calls with the same end.
    Call {
        /// The series of the calls.
        series: Series<'a>,
        /// The endpoint of the calls.
        endpoint: Endpoint<'a>,
        /// The HTTP status sent to the caller; 0 if none.
        code: u16,
        /// The outcome of the calls.
        outcome: Outcome,
    },
    /// A counter of the values in one cell of a histogram.
    Cell {
        /// The series of the calls.
        series: Series<'a>,
        /// The endpoint of the calls.
        endpoint: Endpoint<'a>,
        /// The histogram.
        histogram: Histogram,
        /// How the calls ended.
        ended: Ended,
        /// The cell.
        cell: Cell,
    },
    /// A counter that sums a histogram's values, in nanoseconds or bytes.
    Sum {
        /// The series of the calls.
        series: Series<'a>,
        /// The endpoint of the calls.
        endpoint: Endpoint<'a>,
        /// The histogram.
        histogram: Histogram,
        /// How the calls ended.
        ended: Ended,
    },
    /// A counter of what insight read in the bodies of a series.
    Read {
        /// The series of the calls.
        series: Series<'a>,
        /// The reading.
        reading: Reading<'a>,
    },
    /// Calls that insight saw on routes of its configuration.
    InsightSeen,
    /// Records that insight could not hand over to the module that counts.
    InsightLost,
    /// Calls that no route matched.
    Unmatched,
    /// A gauge whose value is the number of a [`ConfigState`].
    Config,
    /// A gauge whose value is the time at which these bounds were configured. The latest bounds apply.
    Bounds {
        /// The histogram.
        histogram: Histogram,
        /// The bounds, in nanoseconds or bytes.
        bounds: Cow<'a, [u64]>,
    },
}

/// How the calls of a histogram ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ended {
    /// The status of the calls.
    pub status: Status,
    /// The HTTP status sent to the callers, 0 if none; `None` if the histogram does not tell them apart.
    pub code: Option<u16>,
}

impl Ended {
    fn parse(text: &str) -> Option<Self> {
        let (status, code) = match text.split_once('-') {
            Some((status, code)) => (status, Some(decode_number(code)?)),
            None => (text, None),
        };
        Some(Self { status: Status::parse(status)?, code })
    }

    /// Without `Display`: in the linked module, its calls could be those of any other `Display`, and some of these can
    /// panic.
    fn encode(self, histogram: Histogram, out: &mut String) {
        write_infallibly(out, format_args!(".{}.{}", histogram.as_str(), self.status.as_str()));
        if let Some(code) = self.code {
            write_infallibly(out, format_args!("-{code}"));
        }
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self { status, code: None }
    }
}

/// The state of the filter's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigState {
    /// The configuration is invalid, so no call is matched.
    Invalid,
    /// Valid, with cells for classic histograms.
    Classic,
    /// Valid, with the finer cells of native histograms.
    Native,
}

impl ConfigState {
    /// The value of the gauge.
    pub const fn number(self) -> u64 {
        match self {
            Self::Invalid => 0,
            Self::Classic => 1,
            Self::Native => 2,
        }
    }

    /// The state for a gauge's value.
    pub const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Invalid,
            2 => Self::Native,
            _ => Self::Classic,
        }
    }
}

impl Stat<'_> {
    /// Appends the name to `out`, without Envoy's prefix.
    pub fn encode(&self, out: &mut String) {
        out.push_str(PREFIX);
        match self {
            Self::Call { series, endpoint, code, outcome } => {
                out.push_str("call.");
                series.encode(out);
                endpoint.encode(out);
                write_infallibly(out, format_args!(".{code}.{}", outcome.as_str()));
            }
            Self::Cell { series, endpoint, histogram, ended, cell } => {
                out.push_str("cell.");
                series.encode(out);
                endpoint.encode(out);
                ended.encode(*histogram, out);
                out.push('.');
                encode_cell(*cell, out);
            }
            Self::Sum { series, endpoint, histogram, ended } => {
                out.push_str("sum.");
                series.encode(out);
                endpoint.encode(out);
                ended.encode(*histogram, out);
            }
            Self::Read { series, reading } => {
                out.push_str("read.");
                series.encode(out);
                out.push('.');
                reading.encode(out);
            }
            Self::InsightSeen => out.push_str("insight_seen"),
            Self::InsightLost => out.push_str("insight_lost"),
            Self::Unmatched => out.push_str("unmatched"),
            Self::Config => out.push_str("config"),
            Self::Bounds { histogram, bounds } => {
                write_infallibly(out, format_args!("bounds.{}.", histogram.as_str()));
                for (position, bound) in bounds.iter().enumerate() {
                    write_infallibly(out, format_args!("{}{bound}", if position == 0 { "" } else { "_" }));
                }
            }
        }
    }
}

impl<'a> Stat<'a> {
    /// Reads a name without Envoy's prefix; `None` if [`encode`](Stat::encode) never writes it.
    pub fn decode(name: &'a str) -> Option<Self> {
        let mut words = Words(name.strip_prefix(PREFIX)?.split('.'));
        let stat = match words.next()? {
            "call" => Self::Call {
                series: words.series()?,
                endpoint: words.endpoint()?,
                code: decode_number(words.next()?)?,
                outcome: Outcome::parse(words.next()?)?,
            },
            "cell" => Self::Cell {
                series: words.series()?,
                endpoint: words.endpoint()?,
                histogram: Histogram::parse(words.next()?)?,
                ended: Ended::parse(words.next()?)?,
                cell: words.cell()?,
            },
            "sum" => Self::Sum {
                series: words.series()?,
                endpoint: words.endpoint()?,
                histogram: Histogram::parse(words.next()?)?,
                ended: Ended::parse(words.next()?)?,
            },
            "read" => Self::Read { series: words.series()?, reading: Reading::decode(&mut words)? },
            "insight_seen" => Self::InsightSeen,
            "insight_lost" => Self::InsightLost,
            "unmatched" => Self::Unmatched,
            "config" => Self::Config,
            "bounds" => Self::Bounds {
                histogram: Histogram::parse(words.next()?)?,
                bounds: words.next()?.split('_').map(decode_number).collect::<Option<_>>()?,
            },
            _ => return None,
        };
        words.0.next().is_none().then_some(stat)
    }
}

impl Series<'_> {
    /// Copies the borrowed parts.
    pub(crate) fn into_owned(self) -> Series<'static> {
        let owned = |word: Cow<'_, str>| Cow::Owned(word.into_owned());
        let model = match self.model {
            Model::Named { model, version } => {
                Model::Named { model: model.map(owned), version: version.map(owned) }
            }
            Model::Other => Model::Other,
        };
        Series { route: owned(self.route), model }
    }

    /// Appends `ROUTE.MODEL.VERSION`, the series' identity, to `out`.
    pub fn encode(&self, out: &mut String) {
        encode_word(&self.route, out);
        out.push('.');
        match &self.model {
            Model::Named { model, version } => {
                encode_optional(model.as_deref(), out);
                out.push('.');
                encode_optional(version.as_deref(), out);
            }
            Model::Other => write_infallibly(out, format_args!("{OTHER}.{OTHER}")),
        }
    }
}

impl Endpoint<'_> {
    fn encode(&self, out: &mut String) {
        out.push('.');
        encode_word(&self.method, out);
        out.push('.');
        encode_word(&self.template, out);
    }
}

/// The words of a name that are still to be decoded.
pub(crate) struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn series(&mut self) -> Option<Series<'a>> {
        let route = decode_word(self.next()?)?;
        let model = match (self.next()?, self.next()?) {
            (OTHER, OTHER) => Model::Other,
            (model, version) => {
                Model::Named { model: decode_optional(model)?, version: decode_optional(version)? }
            }
        };
        Some(Series { route, model })
    }

    fn endpoint(&mut self) -> Option<Endpoint<'a>> {
        Some(Endpoint { method: decode_word(self.next()?)?, template: decode_word(self.next()?)? })
    }

    fn cell(&mut self) -> Option<Cell> {
        let le = match self.next()? {
            "inf" => None,
            bound => Some(decode_number(bound)?),
        };
        let native = match self.next() {
            None => None,
            Some("zero") => Some(NativeBucket::Zero),
            Some(index) => Some(NativeBucket::Index(decode_number(index)?)),
        };
        Some(Cell { le, native })
    }
}

fn encode_cell(cell: Cell, out: &mut String) {
    match cell.le {
        Some(bound) => write_infallibly(out, format_args!("{bound}")),
        None => out.push_str("inf"),
    }
    match cell.native {
        Some(NativeBucket::Zero) => out.push_str(".zero"),
        Some(NativeBucket::Index(index)) => write_infallibly(out, format_args!(".{index}")),
        None => {}
    }
}

/// Rejects leading zeros, a plus sign and a negative zero, which encoding never writes.
pub(crate) fn decode_number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_written_so = match text.strip_prefix('-').unwrap_or(text).as_bytes() {
        [b'0'] => text == "0",
        [first, ..] => matches!(first, b'1'..=b'9'),
        [] => false,
    };
    if is_written_so { text.parse().ok() } else { None }
}

fn encode_optional(word: Option<&str>, out: &mut String) {
    match word {
        Some(word) => encode_word(word, out),
        None => out.push_str(ABSENT),
    }
}

#[expect(clippy::option_option, reason = "the outer `None` is an invalid word")]
fn decode_optional(text: &str) -> Option<Option<Cow<'_, str>>> {
    if text == ABSENT { Some(None) } else { decode_word(text).map(Some) }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'{' | b'}')
}

pub(crate) fn encode_word(word: &str, out: &mut String) {
    if word.is_empty() {
        return out.push_str(EMPTY);
    }
    for byte in word.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            write_infallibly(out, format_args!("%{byte:02X}"));
        }
    }
}

pub(crate) fn decode_word(text: &str) -> Option<Cow<'_, str>> {
    if text == EMPTY {
        return Some(Cow::Borrowed(""));
    }
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(read) = rest.next() {
        let escaped = read == b'%';
        let byte = if escaped { decode_escape(rest.next()?, rest.next()?)? } else { read };
        if is_plain(byte) == escaped {
            return None;
        }
        bytes.push(byte);
    }
    let word = String::from_utf8(bytes).ok()?;
    (!word.is_empty()).then_some(Cow::Owned(word))
}

/// Decodes digits as [`encode_word`] writes them: in upper case.
fn decode_escape(high: u8, low: u8) -> Option<u8> {
    if high.is_ascii_lowercase() || low.is_ascii_lowercase() { None } else { hex::decode(high, low) }
}

/// Writing to a `String` cannot fail.
fn write_infallibly(out: &mut String, text: fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}
