//! Reads one answer's body in any of the known formats, up to a limit.

use crate::csv::Csv;
use crate::document::Document;
use crate::grpc::{Frames, Response};
use crate::json::Lexer;
use crate::llm::Llm;
use crate::plain::{Encoding, Plain};
use crate::predictions::{Layout, Predictions, Tensor};
use crate::record::{Generation, Record, Rows, Scanned, filled};
use crate::sse::Events;
use crate::tally::Tally;
use crate::tensor::{DataType, Elements, element};

/// Facts about an answer's body from its route, its headers and its request.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// Whether the route is an LLM's.
    pub is_llm: bool,
    /// `content-type`.
    pub content_type: &'a [u8],
    /// `content-encoding`.
    pub encoding: &'a [u8],
    /// `inference-header-content-length`: bytes of JSON before the binary tensors of a v2 answer.
    pub header_length: Option<u64>,
    /// How many choices the request asked for.
    pub choices: u32,
    /// The operator's key for predictions, besides the usual ones.
    pub key: &'a [u8],
    /// The maximum number of bytes to read, after decompression.
    pub most_bytes: u64,
    /// Whether there is memory for a window of gzip.
    pub may_inflate: bool,
}

/// Reads one answer's body.
#[derive(Debug)]
pub struct AnswerScanner {
    body: Body,
    plain: Plain,
}

#[derive(Debug)]
enum Body {
    Json(Document),
    /// A v2 answer: `left` more bytes of JSON, then the first tensor.
    Binary {
        document: Document,
        left: u64,
        tensor: Option<Box<(Elements, u64)>>,
    },
    Csv(Csv),
    Grpc(Frames, Response),
    Llm(Lexer, Llm),
    Events(Events),
    Compressed,
    Unreadable,
}

impl AnswerScanner {
    /// A scanner for an answer of this kind.
    pub fn new(about: &About<'_>) -> Self {
        let encoding = Encoding::parse(about.encoding, about.may_inflate);
        let body = if encoding.is_some() { Body::new(about) } else { Body::Compressed };
        let encoding = encoding.filter(|_| !matches!(body, Body::Unreadable));
        Self { body, plain: Plain::new(encoding, about.most_bytes) }
    }

    /// Reads a piece that arrived `now`, by the caller's clock.
    pub fn feed(&mut self, piece: &[u8], now: u64) {
        let Self { body, plain, .. } = self;
        plain.feed(piece, |read| body.feed(read, now));
    }

    /// Whether this scanner holds a gzip window, of which there is a limited number.
    pub fn is_inflating(&self) -> bool {
        self.plain.is_inflating()
    }

    /// How much more of the body would be read, inflated. `None` once the rest would not be read.
    pub fn left(&self) -> Option<u64> {
        self.plain.left()
    }

    /// Leaves a piece of this size unread.
    pub fn skip(&mut self, size: usize) {
        self.plain.skip(size);
    }

    /// Leaves the rest of the body unread.
    pub fn stop(&mut self) {
        self.plain.stop();
    }

    /// Returns the record at the end of the body, or where it broke off.
    pub fn finish(self) -> Record {
        let Self { body, plain } = self;
        if !plain.has_bytes() {
            return Record { scanned: Scanned::Whole, ..Record::default() };
        }
        let mut record = body.finish(plain.is_whole());
        if plain.is_broken() {
            record.scanned = Scanned::Unreadable;
        } else if record.scanned == Scanned::Whole && !plain.is_whole() {
            record.scanned = Scanned::Partial;
        }
        record
    }
}

/// Whether the content type, without its parameters, is one of these names.
pub(crate) fn is_type(content_type: &[u8], names: &[&str]) -> bool {
    let name = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

impl Body {
    // Inlined, it makes the module 4 KB larger.
    #[inline(never)]
    fn new(about: &About<'_>) -> Self {
        let is = |names: &[&str]| is_type(about.content_type, names);
        let json = |layout| Document::new(layout, about.key);
        if is(&["text/event-stream"]) {
            Self::Events(Events::new(Llm::new(about.choices)))
        } else if is(&["application/grpc", "application/grpc+proto"]) {
            Self::Grpc(Frames::default(), Response::default())
        } else if let Some(left) = about.header_length {
            Self::Binary { document: json(Layout::Document), left, tensor: None }
        } else if is(&["text/csv"]) {
            Self::Csv(Csv::default())
        } else if is(&["application/jsonl", "application/jsonlines", "application/x-ndjson"]) {
            Self::Json(json(Layout::Lines))
        } else if is(&["text/html", "application/octet-stream"]) {
            Self::Unreadable
        } else if about.is_llm {
            Self::Llm(Lexer::default(), Llm::new(about.choices))
        } else {
            // Servers send JSON under many names, and under none.
            Self::Json(json(Layout::Document))
        }
    }

    fn feed(&mut self, piece: &[u8], now: u64) {
        match self {
            Self::Json(document) => document.feed(piece),
            Self::Binary { document, left, tensor } => feed_binary(document, left, tensor, piece),
            Self::Csv(csv) => csv.feed(piece),
            Self::Grpc(frames, response) => frames.feed(piece, response),
            Self::Llm(lexer, llm) => {
                llm.at(now);
                lexer.feed(piece, llm);
            }
            Self::Events(events) => events.feed(piece, now),
            Self::Compressed | Self::Unreadable => {}
        }
    }

    /// Returns the record; `is_whole` says whether all of the body was read.
    fn finish(self, is_whole: bool) -> Record {
        match self {
            Self::Json(document) => finish_document(document, is_whole),
            Self::Binary { document, left, tensor } => {
                let is_complete = left == 0 && tensor.is_none_or(|tensor| tensor.1 == 0);
                finish_document(document, is_whole && is_complete)
            }
            Self::Csv(csv) => {
                let tally = csv.finish(is_whole);
                Record { scanned: Scanned::Whole, rows: rows(&tally), cut: tally.cut, ..Record::default() }
            }
            Self::Grpc(frames, response) => finish_grpc(&frames, response),
            Self::Llm(mut lexer, mut llm) => {
                lexer.finish(&mut llm);
                let is_whole = lexer.is_complete();
                if is_whole {
                    llm.end();
                }
                generation(&llm, scanned(is_whole, lexer.is_broken()), false)
            }
            Self::Events(mut events) => {
                let scanned = if events.finish() { Scanned::Whole } else { Scanned::Unreadable };
                generation(&events.llm, scanned, true)
            }
            Self::Compressed => Record { scanned: Scanned::Compressed, ..Record::default() },
            Self::Unreadable => Record::default(),
        }
    }
}

fn feed_binary(
    document: &mut Document,
    left: &mut u64,
    tensor: &mut Option<Box<(Elements, u64)>>,
    piece: &[u8],
) {
    let json = piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    let (json, binary) = piece.split_at_checked(json).unwrap_or((piece, &[]));
    let was_json = *left > 0;
    *left = left.saturating_sub(json.len() as u64);
    document.feed(json);
    if was_json && *left == 0 {
        *tensor = begin(&document.predictions.tensor);
    }
    if let Some((elements, left)) = tensor.as_deref_mut() {
        let taken = binary.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let binary = binary.get(..taken).unwrap_or_default();
        *left = left.saturating_sub(binary.len() as u64);
        let Predictions { tensor, tally, .. } = &mut document.predictions;
        elements.feed(binary, |scalar| element(scalar, tensor.width, tally));
    }
}

/// The first tensor, if its bytes follow the JSON part.
fn begin(tensor: &Tensor) -> Option<Box<(Elements, u64)>> {
    let datatype = DataType::parse(tensor.datatype.head())?;
    Some(Box::new((Elements::new(datatype), tensor.binary?)))
}

fn scanned(is_whole: bool, is_broken: bool) -> Scanned {
    match (is_whole, is_broken) {
        (true, _) => Scanned::Whole,
        (false, true) => Scanned::Unreadable,
        (false, false) => Scanned::Partial,
    }
}

fn finish_document(mut document: Document, is_whole: bool) -> Record {
    let is_whole = is_whole && document.finish();
    let is_broken = document.is_broken();
    let predictions = &mut document.predictions;
    predictions.settle();
    Record {
        scanned: scanned(is_whole, is_broken),
        model: predictions.model.kept_only(),
        version: predictions.version.kept_only(),
        error: predictions.error(),
        rows: rows(&predictions.tally),
        cut: predictions.tally.cut,
        ..Record::default()
    }
}

fn finish_grpc(frames: &Frames, mut response: Response) -> Record {
    response.finish();
    let scanned = match (frames.is_compressed(), frames.is_whole()) {
        (true, _) => Scanned::Compressed,
        (false, true) => Scanned::Whole,
        (false, false) => Scanned::Partial,
    };
    Record {
        scanned,
        model: response.model.kept_only(),
        version: response.version.kept_only(),
        rows: rows(&response.tally),
        cut: response.tally.cut,
        ..Record::default()
    }
}

fn rows(tally: &Tally) -> Option<Rows> {
    let named = tally.classes.named().iter();
    Some(Rows {
        rows: tally.rows,
        kinds: tally.kinds,
        cells: filled(&tally.cells),
        classes: named.map(|class| (class.name.head().to_vec(), class.count)).collect(),
        other_classes: tally.classes.other,
        fingerprint: tally.whole_fingerprint(),
    })
}

fn generation(llm: &Llm, scanned: Scanned, is_stream: bool) -> Record {
    let generation = Generation {
        is_stream,
        is_ended: llm.is_ended(),
        tokens: llm.usage.tokens(),
        finish: llm.finish(),
        content_events: if is_stream { llm.content_events } else { 0 },
        first_content: llm.first_content.filter(|_| is_stream),
        last_content: llm.last_content.filter(|_| is_stream),
        gaps: if is_stream { filled(&llm.gaps) } else { Vec::new() },
    };
    Record {
        scanned,
        model: llm.model.kept_only(),
        version: llm.version.kept_only(),
        error: llm.error,
        generation: Some(generation),
        ..Record::default()
    }
}
