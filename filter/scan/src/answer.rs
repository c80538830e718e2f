//! Reads one answer's body in any of the known formats, up to a limit.

use crate::csv::Csv;
use crate::document::Document;
use crate::grpc::{Frames, Response};
use crate::gzip::{End, Inflate};
use crate::json::Lexer;
use crate::llm::Llm;
use crate::predictions::{Layout, Tensor};
use crate::record::{Generation, Record, Rows, Scanned, filled};
use crate::sse::Events;
use crate::tally::Tally;
use crate::tensor::{DataType, Elements};

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
    inflate: Option<Box<Inflate>>,
    /// How an inflated body ended, once nothing more of it is read.
    inflated: Option<End>,
    left: u64,
    /// How much compressed data may still be read.
    compressed_left: u64,
    has_bytes: bool,
    /// Reading stopped at a limit, or because the rest cannot be read.
    is_over: bool,
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
        let is_gzip = matches!(about.encoding.trim_ascii(), b"gzip" | b"x-gzip");
        let is_plain = matches!(about.encoding.trim_ascii(), b"" | b"identity");
        let body =
            if is_plain || (is_gzip && about.may_inflate) { Body::new(about) } else { Body::Compressed };
        let inflate = (is_gzip && about.may_inflate).then(Box::default);
        Self {
            body,
            inflate,
            inflated: None,
            left: about.most_bytes,
            compressed_left: about.most_bytes,
            has_bytes: false,
            is_over: false,
        }
    }

    /// Reads a piece that arrived `now`, by the caller's clock.
    pub fn feed(&mut self, piece: &[u8], now: u64) {
        let Self { body, inflate, left, compressed_left, is_over, .. } = self;
        self.has_bytes |= !piece.is_empty();
        if *is_over {
            return;
        }
        let Some(inflate) = inflate else {
            *is_over = !body.feed_within(piece, left, now);
            return;
        };
        let allowed = piece.len().min(usize::try_from(*compressed_left).unwrap_or(usize::MAX));
        let read = piece.get(..allowed).unwrap_or_default();
        *compressed_left = compressed_left.saturating_sub(read.len() as u64);
        let goes_on = inflate.feed(read, |plain| body.feed_within(plain, left, now));
        *is_over = !goes_on || allowed < piece.len();
        if *is_over {
            self.stop();
        }
    }

    /// Whether this scanner holds a gzip window, of which there is a limited number.
    pub fn is_inflating(&self) -> bool {
        self.inflate.is_some()
    }

    /// Whether the rest of the body would not be read.
    pub fn is_done(&self) -> bool {
        self.is_over || matches!(self.body, Body::Compressed | Body::Unreadable)
    }

    /// How much more of the body would be read, inflated.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Leaves a piece of this size unread, because the scanner is done.
    pub fn skip(&mut self, size: usize) {
        self.has_bytes |= size > 0;
    }

    /// Leaves the rest of the body unread.
    pub fn stop(&mut self) {
        self.is_over = true;
        if let Some(inflate) = self.inflate.take() {
            self.inflated = Some(inflate.end());
        }
    }

    /// Returns the record at the end of the body, or where it broke off.
    pub fn finish(self) -> Record {
        let Self { body, inflate, inflated, has_bytes, is_over, .. } = self;
        if !has_bytes {
            return Record { scanned: Scanned::Whole, ..Record::default() };
        }
        let mut record = body.finish();
        let inflated = inflated.or(inflate.map(|inflate| inflate.end())).unwrap_or(End::Whole);
        if inflated == End::Broken {
            record.scanned = Scanned::Unreadable;
        } else if record.scanned == Scanned::Whole && (is_over || inflated == End::Cut) {
            record.scanned = Scanned::Partial;
        }
        record
    }
}

/// Whether the content type, without its parameters, is one of these names.
fn is_type(content_type: &[u8], names: &[&str]) -> bool {
    let name = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

impl Body {
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

    /// Reads a piece up to the limit. Returns whether the whole piece was read.
    fn feed_within(&mut self, piece: &[u8], left: &mut u64, now: u64) -> bool {
        let allowed = piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let read = piece.get(..allowed).unwrap_or_default();
        *left = left.saturating_sub(read.len() as u64);
        self.feed(read, now);
        read.len() == piece.len()
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

    fn finish(self) -> Record {
        match self {
            Self::Json(document) => finish_document(document, true),
            Self::Binary { document, left, tensor } => {
                finish_document(document, left == 0 && tensor.is_none_or(|tensor| tensor.1 == 0))
            }
            Self::Csv(mut csv) => {
                csv.finish();
                Record {
                    scanned: Scanned::Whole,
                    rows: rows(&csv.tally),
                    cut: csv.tally.cut,
                    ..Record::default()
                }
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
        elements.feed(binary, &mut document.predictions.tally);
    }
}

/// The first tensor, if its bytes follow the JSON part.
fn begin(tensor: &Tensor) -> Option<Box<(Elements, u64)>> {
    let datatype = DataType::parse(tensor.datatype.head())?;
    Some(Box::new((Elements::new(datatype, tensor.width), tensor.binary?)))
}

fn scanned(is_whole: bool, is_broken: bool) -> Scanned {
    match (is_whole, is_broken) {
        (true, _) => Scanned::Whole,
        (false, true) => Scanned::Unreadable,
        (false, false) => Scanned::Partial,
    }
}

fn finish_document(mut document: Document, is_rest_whole: bool) -> Record {
    let is_whole = document.finish() && is_rest_whole;
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
