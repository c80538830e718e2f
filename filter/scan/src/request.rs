//! Reads a request: the model that it asks for, how many choices, and columns of the input.

use crate::columns::{Column, Columns, State};
use crate::grpc::{Frames, Request};
use crate::json::{Container, Lexer, Scalar, Sink};
use crate::predictions::whole;
use crate::record::{ColumnCounts, MODEL};
use crate::text::Text;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    Json,
    /// `ModelInferRequest` over gRPC.
    Grpc,
}

/// Reads one request's body.
#[derive(Debug)]
pub struct RequestScanner {
    body: Body,
    left: u64,
}

#[derive(Debug)]
enum Body {
    Json(Lexer, Fields),
    /// With the columns of the input.
    Rows(Lexer, Fields, Box<State>),
    Grpc(Frames, Request),
}

impl RequestScanner {
    /// Reads at most `most_bytes` of a body, and these columns, if it is JSON.
    pub fn new(format: Format, most_bytes: u64, columns: &[Column]) -> Self {
        let (lexer, fields) = (Lexer::default(), Fields::default());
        let body = match format {
            Format::Json if columns.is_empty() => Body::Json(lexer, fields),
            Format::Json => Body::Rows(lexer, fields, Box::new(State::new(columns))),
            Format::Grpc => Body::Grpc(Frames::default(), Request::default()),
        };
        Self { body, left: most_bytes }
    }

    /// Reads a piece, with the columns of [`new`](Self::new). Returns whether the next one would be read too.
    pub fn feed(&mut self, piece: &[u8], columns: &[Column]) -> bool {
        let allowed = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let piece = piece.get(..allowed).unwrap_or_default();
        self.left = self.left.saturating_sub(piece.len() as u64);
        match &mut self.body {
            Body::Json(lexer, fields) => {
                lexer.feed(piece, fields);
            }
            Body::Rows(lexer, fields, state) => {
                lexer.feed(piece, &mut (fields, Columns { columns, state }));
            }
            Body::Grpc(frames, request) => frames.feed(piece, request),
        }
        self.left > 0
    }

    /// The model that the request asks for, or the part of its name that was read.
    pub fn model(&self) -> Text<MODEL> {
        match &self.body {
            Body::Json(_, fields) | Body::Rows(_, fields, _) => fields.model.kept_only(),
            Body::Grpc(_, request) => request.model.kept_only(),
        }
    }

    /// How many choices the request asks for: `n` for each prompt.
    pub fn choices(&self) -> u32 {
        match &self.body {
            Body::Json(_, fields) | Body::Rows(_, fields, _) => {
                fields.choices.unwrap_or(1).saturating_mul(fields.prompts.max(1))
            }
            Body::Grpc(..) => 1,
        }
    }

    /// The columns that have values.
    pub fn columns(&self) -> Vec<ColumnCounts> {
        match &self.body {
            Body::Rows(_, _, state) => state.finish(),
            Body::Json(..) | Body::Grpc(..) => Vec::new(),
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

impl Sink for (&mut Fields, Columns<'_>) {
    fn open(&mut self, container: Container) {
        self.0.open(container);
        self.1.open(container);
    }

    fn close(&mut self) {
        self.0.close();
        self.1.close();
    }

    fn key(&mut self, key: &[u8]) {
        self.0.key(key);
        self.1.key(key);
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        self.0.scalar(scalar);
        self.1.scalar(scalar);
    }

    fn piece(&mut self, _: &[u8]) {}
}

impl Sink for Fields {
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

    fn piece(&mut self, _: &[u8]) {}
}
