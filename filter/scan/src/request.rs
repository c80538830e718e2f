//! Reads a request: the model that it asks for, how many choices, and columns of the input.

use crate::answer::is_type;
use crate::columns::csv::Input;
use crate::columns::grpc::Tensors;
use crate::columns::json::Places;
use crate::columns::{Column, Columns, Values};
use crate::grpc::Frames;
use crate::json::{self, Container, Lexer, Scalar};
use crate::plain::{Encoding, Plain};
use crate::predictions::whole;
use crate::protobuf::{self, Field};
use crate::record::{ColumnCounts, MODEL};
use crate::text::Text;

/// Facts about a request's body from its headers and the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// `content-type`.
    pub content_type: &'a [u8],
    /// `content-encoding`.
    pub encoding: &'a [u8],
    /// `inference-header-content-length`: bytes of JSON before the binary tensors of a v2 request.
    pub header_length: Option<u64>,
    /// The maximum number of bytes to read, after decompression.
    pub most_bytes: u64,
    /// Whether there is memory for a window of gzip.
    pub may_inflate: bool,
}

/// The model and the columns of a request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The model that the request asks for, or the part of its name that was read.
    pub model: Text<MODEL>,
    /// The columns that have values.
    pub columns: Vec<ColumnCounts>,
}

/// Reads one request's body.
#[derive(Debug)]
pub struct RequestScanner {
    body: Body,
    plain: Plain,
}

#[derive(Debug)]
enum Body {
    Json {
        lexer: Lexer,
        fields: Fields,
        columns: Option<Box<(Values, Places)>>,
        /// How many bytes of JSON are left before the binary tensors.
        left: u64,
    },
    Grpc {
        frames: Frames,
        model: Text<MODEL>,
        columns: Option<Box<(Values, Tensors)>>,
    },
    Csv(Box<Input>),
    Unreadable,
}

impl RequestScanner {
    /// A scanner for a request of this kind, which counts these columns.
    pub fn new(about: &About<'_>, columns: &[Column]) -> Self {
        let encoding = Encoding::parse(about.encoding, about.may_inflate);
        let body = if encoding.is_some() { Body::new(about, columns) } else { Body::Unreadable };
        Self { body, plain: Plain::new(encoding, about.most_bytes) }
    }

    /// Reads a piece, with the columns of [`new`](Self::new).
    pub fn feed(&mut self, piece: &[u8], columns: &[Column]) {
        let Self { body, plain } = self;
        plain.feed(piece, |read| body.feed(read, columns));
    }

    /// Ends the body.
    pub fn end(&mut self) {
        self.plain.end();
    }

    /// Leaves the rest of the body unread.
    pub fn stop(&mut self) {
        self.plain.stop();
    }

    /// Whether this scanner holds a gzip window, of which there is a limited number.
    pub fn is_inflating(&self) -> bool {
        self.plain.is_inflating()
    }

    /// How much more of the body would be read, inflated. `None` once the rest would not be read.
    pub fn left(&self) -> Option<u64> {
        self.plain.left()
    }

    /// How many choices the request asks for: `n` for each prompt.
    pub fn choices(&self) -> u32 {
        match &self.body {
            Body::Json { fields, .. } => fields.choices.unwrap_or(1).saturating_mul(fields.prompts.max(1)),
            Body::Grpc { .. } | Body::Csv(_) | Body::Unreadable => 1,
        }
    }

    /// Returns what was read up to the end of the body, or where it broke off, with the columns of [`new`](Self::new).
    pub fn finish(mut self, columns: &[Column]) -> Asked {
        match &mut self.body {
            Body::Json { fields, columns, .. } => {
                Asked { model: fields.model.kept_only(), columns: counts(columns) }
            }
            Body::Grpc { model, columns, .. } => Asked { model: model.kept_only(), columns: counts(columns) },
            Body::Csv(input) => {
                Asked { columns: input.finish(columns, self.plain.is_whole()), ..Asked::default() }
            }
            Body::Unreadable => Asked::default(),
        }
    }
}

fn counts<P>(columns: &Option<Box<(Values, P)>>) -> Vec<ColumnCounts> {
    columns.as_ref().map(|columns| columns.0.finish()).unwrap_or_default()
}

impl Body {
    // Inlined, it makes the module larger.
    #[inline(never)]
    fn new(about: &About<'_>, columns: &[Column]) -> Self {
        let values = (!columns.is_empty()).then(|| Values::new(columns));
        if about.content_type.starts_with(b"application/grpc") {
            let columns = values.map(|values| Box::new((values, Tensors::default())));
            Self::Grpc { frames: Frames::default(), model: Text::default(), columns }
        } else if is_type(about.content_type, &["text/csv"]) {
            Self::Csv(Box::new(Input::new(columns)))
        } else {
            Self::Json {
                lexer: Lexer::default(),
                fields: Fields::default(),
                columns: values.map(|values| Box::new((values, Places::default()))),
                left: about.header_length.unwrap_or(u64::MAX),
            }
        }
    }

    fn feed(&mut self, piece: &[u8], columns: &[Column]) {
        match self {
            Self::Json { lexer, fields, columns: counted, left } => {
                let size = piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let (text, binary) = piece.split_at_checked(size).unwrap_or((piece, &[]));
                *left = left.saturating_sub(text.len() as u64);
                let mut rest = text;
                while !rest.is_empty() {
                    let counted = counted.as_deref_mut();
                    let mut sink = counted.map(|(values, places)| (Columns { columns, values }, places));
                    let columns = sink.as_mut();
                    rest = lexer.feed(rest, &mut Json { fields, columns }).trim_ascii_start();
                    match sink {
                        // Each line of JSON Lines is a document.
                        Some((_, places)) if lexer.is_complete() && !rest.is_empty() => {
                            lexer.restart();
                            *places = Places::default();
                        }
                        _ => break,
                    }
                }
                if let Some((values, places)) = counted.as_deref_mut() {
                    places.feed_binary(binary, &mut Columns { columns, values });
                }
            }
            Self::Grpc { frames, model, columns: counted } => {
                let counted = counted.as_deref_mut();
                let columns = counted.map(|(values, tensors)| (Columns { columns, values }, tensors));
                frames.feed(piece, &mut Grpc { model, columns });
            }
            Self::Csv(input) => input.feed(piece, columns),
            Self::Unreadable => {}
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Model,
    Choices,
    Prompt,
}

/// The fields of a JSON request.
#[derive(Debug, Default)]
struct Fields {
    depth: u32,
    key: Key,
    model: Text<MODEL>,
    choices: Option<u32>,
    /// Texts, or lists of tokens, in `prompt`.
    prompts: u32,
}

impl Fields {
    fn open(&mut self, container: Container) {
        // One prompt of a list of prompts, given as tokens.
        if self.depth == 2 && self.key == Key::Prompt && container == Container::Array {
            self.prompts = self.prompts.saturating_add(1);
        }
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth <= 1 {
            self.key = Key::Other;
        }
    }

    fn key(&mut self, key: &[u8]) {
        if self.depth == 1 {
            self.key = match key {
                b"model" => Key::Model,
                b"n" => Key::Choices,
                b"prompt" => Key::Prompt,
                _ => Key::Other,
            };
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        match (self.depth, self.key, scalar) {
            (1, Key::Model, Scalar::String(text)) => self.model = Text::from(text.head),
            (1, Key::Choices, _) => {
                self.choices = whole(scalar).and_then(|number| u32::try_from(number).ok());
            }
            (2, Key::Prompt, Scalar::String(_)) => self.prompts = self.prompts.saturating_add(1),
            _ => {}
        }
    }
}

/// Reads a JSON request.
struct Json<'a, C> {
    fields: &'a mut Fields,
    columns: Option<&'a mut C>,
}

impl<C: json::Sink> json::Sink for Json<'_, C> {
    fn open(&mut self, container: Container) {
        self.fields.open(container);
        self.columns.iter_mut().for_each(|columns| columns.open(container));
    }

    fn close(&mut self) {
        self.fields.close();
        self.columns.iter_mut().for_each(|columns| columns.close());
    }

    fn key(&mut self, key: &[u8]) {
        self.fields.key(key);
        self.columns.iter_mut().for_each(|columns| columns.key(key));
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        self.fields.scalar(scalar);
        self.columns.iter_mut().for_each(|columns| columns.scalar(scalar));
    }

    fn piece(&mut self, _: &[u8]) {}
}

/// Reads `ModelInferRequest`.
struct Grpc<'a, C> {
    model: &'a mut Text<MODEL>,
    columns: Option<C>,
}

impl<C: protobuf::Sink> protobuf::Sink for Grpc<'_, C> {
    fn field(&mut self, path: &[u32]) -> Field {
        let field = self.columns.as_mut().map_or(Field::Skip, |columns| columns.field(path));
        if path == [1] {
            self.model.clear();
            return Field::Bytes;
        }
        field
    }

    fn number(&mut self, path: &[u32], bits: u64) {
        self.columns.iter_mut().for_each(|columns| columns.number(path, bits));
    }

    fn bytes(&mut self, path: &[u32], piece: &[u8]) {
        match &mut self.columns {
            _ if path == [1] => self.model.push(piece),
            Some(columns) => columns.bytes(path, piece),
            None => {}
        }
    }

    fn end(&mut self, path: &[u32]) {
        self.columns.iter_mut().for_each(|columns| columns.end(path));
    }
}
