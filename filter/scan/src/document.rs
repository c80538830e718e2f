//! A JSON answer with predictions, even if the whole answer is wrapped in a JSON string.

use crate::json::{Container, Lexer, Scalar, Sink, token};
use crate::predictions::{Layout, Predictions};
use crate::text::Excerpt;

/// Reads one JSON document, or one on each line.
#[derive(Debug)]
pub(crate) struct Document {
    lexer: Lexer,
    /// Reads the document inside a string, as `json.dumps(…)` in an Azure ML `score.py` produces.
    inner: Lexer,
    nested: Nested,
    layout: Layout,
    documents: u32,
    is_broken: bool,
    pub(crate) predictions: Predictions,
}

/// The content of a string that is the whole document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Nested {
    #[default]
    Undecided,
    Document,
    Text,
}

impl Document {
    pub(crate) fn new(layout: Layout, key: &[u8]) -> Self {
        Self {
            lexer: Lexer::default(),
            inner: Lexer::default(),
            nested: Nested::default(),
            layout,
            documents: 0,
            is_broken: false,
            predictions: Predictions::new(layout, key),
        }
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() && !self.is_broken {
            let Self { lexer, inner, nested, predictions, .. } = self;
            rest = lexer.feed(rest, &mut Outer { inner, nested, predictions });
            if self.lexer.is_complete() {
                rest = rest.trim_ascii_start();
                // Only JSON Lines may have a second document.
                self.is_broken = self.layout == Layout::Document && !rest.is_empty();
                if self.layout == Layout::Lines && !rest.is_empty() {
                    self.next();
                }
            } else {
                self.is_broken = self.lexer.is_broken();
            }
        }
    }

    fn next(&mut self) {
        self.documents = self.documents.saturating_add(1);
        self.predictions.restart();
        self.lexer.restart();
        self.inner.restart();
        self.nested = Nested::Undecided;
    }

    /// Ends the body. Returns whether it was well-formed and complete.
    pub(crate) fn finish(&mut self) -> bool {
        let Self { lexer, inner, nested, predictions, .. } = self;
        lexer.finish(&mut Outer { inner, nested, predictions });
        let after_a_line = self.documents > 0 && self.lexer.is_untouched();
        !self.is_broken && (self.lexer.is_complete() || after_a_line)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken || self.lexer.is_broken()
    }
}

/// Passes a document on, and also parses a string that is the whole document.
struct Outer<'a> {
    inner: &'a mut Lexer,
    nested: &'a mut Nested,
    predictions: &'a mut Predictions,
}

impl Outer<'_> {
    fn text(&mut self, text: Excerpt<'_>) {
        if *self.nested == Nested::Document {
            self.inner.finish(self.predictions);
            if self.inner.is_complete() {
                return;
            }
            // The text only looked like a document, such as `[WARN] no model`.
            self.predictions.forget();
        }
        let scalar = match token(text) {
            Some(scalar) if text.whole().is_some() => scalar,
            _ => Scalar::String(text),
        };
        self.predictions.scalar(scalar);
    }
}

impl Sink for Outer<'_> {
    fn open(&mut self, container: Container) {
        self.predictions.open(container);
    }

    fn close(&mut self) {
        self.predictions.close();
    }

    fn key(&mut self, key: &[u8]) {
        self.predictions.key(key);
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        match scalar {
            Scalar::String(text) if self.predictions.may_nest() || *self.nested == Nested::Document => {
                self.text(text);
            }
            _ => self.predictions.scalar(scalar),
        }
    }

    fn piece(&mut self, bytes: &[u8]) {
        if *self.nested == Nested::Undecided && self.predictions.may_nest() {
            *self.nested = match bytes.trim_ascii_start().first() {
                None => return,
                Some(b'{' | b'[') => Nested::Document,
                Some(_) => Nested::Text,
            };
        }
        if *self.nested == Nested::Document {
            let rest = self.inner.feed(bytes, self.predictions);
            if !rest.trim_ascii_start().is_empty() && self.inner.is_complete() {
                // More follows the document. A broken lexer makes the string a text.
                *self.inner = Lexer::broken();
            }
        }
    }
}
