//! A JSON lexer that is fed bytes and calls a sink: no tree, no recursion, a fixed amount of memory.
//!
//! Hand-written because the parsers that take pieces reject bare `NaN` and `Infinity`, which model servers send, and
//! allocate for long strings.

use memchr::memchr2;

use crate::number;
use crate::text::{Excerpt, Text};

/// How deep arrays and objects may nest.
pub(crate) const DEEPEST: u32 = 128;

/// How many bytes of a string a sink can see.
pub(crate) const HEAD: usize = 80;

/// A value that is neither an array nor an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    /// A number or an infinity. `None` if the number has too many digits to be read.
    Number(Option<f64>),
    NotANumber,
    String(Excerpt<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Array,
    Object,
}

/// Receives the parts of a document.
pub(crate) trait Sink {
    fn open(&mut self, container: Container);
    fn close(&mut self);
    fn key(&mut self, key: &[u8]);
    fn scalar(&mut self, scalar: Scalar<'_>);
    /// Decoded bytes of a string value, before it ends with [`scalar`](Self::scalar).
    fn piece(&mut self, bytes: &[u8]);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    After,
    /// A number or a word: anything that is not punctuation.
    Token,
    String,
    Escape,
    Hex(u8),
    /// The document is complete.
    End,
    Broken,
}

/// The state between two pieces of a document.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: State,
    is_key: bool,
    depth: u32,
    /// One bit for each level, set if the level is an object.
    objects: u128,
    text: Text<HEAD>,
    hex: u16,
    /// A high surrogate that waits for its other half; 0 if there is none.
    surrogate: u16,
}

impl Lexer {
    /// Reads a piece, up to the end of the document. Returns what follows it.
    pub(crate) fn feed<'a>(&mut self, piece: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let mut rest = piece;
        while let Some((byte, tail)) = rest.split_first() {
            rest = match self.state {
                State::String => self.string(rest, sink),
                State::Token => self.token(rest, sink),
                State::End | State::Broken => return rest,
                State::Value | State::ValueOrEnd if is_token(*byte) => self.value_token(rest, sink),
                State::Escape => {
                    self.escape(*byte, sink);
                    tail
                }
                State::Hex(left) => {
                    self.hex_digit(*byte, left, sink);
                    tail
                }
                _ => {
                    self.punctuation(*byte, sink);
                    match byte {
                        b'"' if self.state == State::String => self.whole_string(tail, sink),
                        // Most writers put one blank here.
                        b',' | b':' => tail.strip_prefix(b" ").unwrap_or(tail),
                        _ => tail,
                    }
                }
            };
        }
        rest
    }

    /// Ends the input. A number at the top level ends only here; any other was cut off.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) {
        if self.state == State::Token && self.depth == 0 {
            self.end_of_token(sink);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::End
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Begins another document.
    pub(crate) fn restart(&mut self) {
        (self.state, self.depth, self.objects) = (State::Value, 0, 0);
    }

    /// A lexer that accepts nothing.
    pub(crate) fn broken() -> Self {
        Self { state: State::Broken, ..Self::default() }
    }

    /// Whether no byte of a document was read.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state == State::Value && self.depth == 0
    }

    fn punctuation(&mut self, byte: u8, sink: &mut impl Sink) {
        if byte.is_ascii_whitespace() {
            return;
        }
        self.state = match (self.state, byte) {
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => return self.close(sink),
            (State::Value | State::ValueOrEnd, _) => return self.value(byte, sink),
            (State::Key | State::KeyOrEnd, b'"') => return self.open_string(true),
            (State::Colon, b':') => State::Value,
            (State::After, b',') if self.in_object() => State::Key,
            (State::After, b',') => State::Value,
            (State::After, b'}') if self.in_object() => return self.close(sink),
            (State::After, b']') if !self.in_object() => return self.close(sink),
            _ => State::Broken,
        };
    }

    fn value(&mut self, byte: u8, sink: &mut impl Sink) {
        match byte {
            b'{' => self.open(Container::Object, sink),
            b'[' => self.open(Container::Array, sink),
            b'"' => self.open_string(false),
            _ => self.state = State::Broken,
        }
    }

    fn open(&mut self, container: Container, sink: &mut impl Sink) {
        if self.depth >= DEEPEST {
            self.state = State::Broken;
            return;
        }
        let is_object = container == Container::Object;
        self.objects = (self.objects << 1) | u128::from(is_object);
        self.depth = self.depth.saturating_add(1);
        self.state = if is_object { State::KeyOrEnd } else { State::ValueOrEnd };
        sink.open(container);
    }

    fn close(&mut self, sink: &mut impl Sink) {
        self.objects >>= 1;
        self.depth = self.depth.saturating_sub(1);
        sink.close();
        self.after_value();
    }

    fn after_value(&mut self) {
        self.state = if self.depth == 0 { State::End } else { State::After };
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn open_string(&mut self, is_key: bool) {
        self.text.clear();
        self.is_key = is_key;
        self.surrogate = 0;
        self.state = State::String;
    }

    /// Reads a string that just began, if it ends within the piece and has no escapes: most do, and need not be copied.
    fn whole_string<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let Some(end) = memchr2(b'"', b'\\', bytes).filter(|end| bytes.get(*end) == Some(&b'"')) else {
            return bytes;
        };
        let (text, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        let excerpt = Excerpt::of(text, HEAD);
        if self.is_key {
            sink.key(excerpt.whole().unwrap_or_default());
            // Most writers put the colon right here, and some a blank behind it.
            if let Some(value) = rest.strip_prefix(b"\":") {
                self.state = State::Value;
                return value.strip_prefix(b" ").unwrap_or(value);
            }
            self.state = State::Colon;
        } else {
            if !text.is_empty() {
                sink.piece(text);
            }
            sink.scalar(Scalar::String(excerpt));
            self.after_value();
        }
        rest.get(1..).unwrap_or_default()
    }

    /// Reads up to the next quote or backslash.
    fn string<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (plain, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        if !plain.is_empty() {
            self.lone_surrogate(sink);
            self.push(plain, sink);
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                self.lone_surrogate(sink);
                self.end_of_string(sink);
                rest
            }
            Some((_, rest)) => {
                self.state = State::Escape;
                rest
            }
            None => rest,
        }
    }

    fn push(&mut self, decoded: &[u8], sink: &mut impl Sink) {
        self.text.push(decoded);
        if !self.is_key {
            sink.piece(decoded);
        }
    }

    fn end_of_string(&mut self, sink: &mut impl Sink) {
        if self.is_key {
            sink.key(self.text.whole().unwrap_or_default());
            self.state = State::Colon;
        } else {
            sink.scalar(Scalar::String(self.text.excerpt()));
            self.after_value();
        }
    }

    fn escape(&mut self, byte: u8, sink: &mut impl Sink) {
        let decoded = match byte {
            b'u' => {
                self.hex = 0;
                self.state = State::Hex(4);
                return;
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' => byte,
            _ => {
                self.state = State::Broken;
                return;
            }
        };
        self.lone_surrogate(sink);
        self.push(&[decoded], sink);
        self.state = State::String;
    }

    fn hex_digit(&mut self, byte: u8, left: u8, sink: &mut impl Sink) {
        let Some(digit) = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()) else {
            self.state = State::Broken;
            return;
        };
        self.hex = (self.hex << 4) | digit;
        if left > 1 {
            self.state = State::Hex(left.saturating_sub(1));
        } else {
            self.state = State::String;
            self.unit(sink);
        }
    }

    /// A UTF-16 unit that was written as `\uXXXX`.
    fn unit(&mut self, sink: &mut impl Sink) {
        let pair = [self.surrogate, self.hex];
        if self.surrogate != 0 && (0xDC00..0xE000).contains(&self.hex) {
            self.surrogate = 0;
            let character = char::decode_utf16(pair).next().and_then(Result::ok);
            return self.character(character, sink);
        }
        self.lone_surrogate(sink);
        if (0xD800..0xDC00).contains(&self.hex) {
            self.surrogate = self.hex;
        } else {
            self.character(char::from_u32(u32::from(self.hex)), sink);
        }
    }

    fn lone_surrogate(&mut self, sink: &mut impl Sink) {
        if self.surrogate != 0 {
            self.surrogate = 0;
            self.character(None, sink);
        }
    }

    fn character(&mut self, character: Option<char>, sink: &mut impl Sink) {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let mut utf8 = [0; 4];
        let decoded = character.encode_utf8(&mut utf8);
        self.push(decoded.as_bytes(), sink);
    }

    /// Reads a number or a word. Most end within the piece and need not be copied.
    fn value_token<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let mut bytes = bytes;
        while let Some((number, rest)) = number::prefix(bytes) {
            let is_ended = rest.first().is_some_and(|byte| !is_token(*byte));
            if !is_ended || bytes.len().saturating_sub(rest.len()) > HEAD {
                break;
            }
            sink.scalar(Scalar::Number(Some(number)));
            match self.next_number(rest) {
                Some(next) => bytes = next,
                None => {
                    self.after_value();
                    return rest;
                }
            }
        }
        let (head, rest) = split_token(bytes);
        if !rest.is_empty() && head.len() <= HEAD {
            self.scalar(token(Excerpt::of(head, HEAD)), sink);
            return rest;
        }
        self.text.clear();
        self.state = State::Token;
        self.token(bytes, sink)
    }

    /// The next number of an array, if it has begun.
    fn next_number<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let next = bytes.strip_prefix(b",").filter(|_| self.depth > 0 && !self.in_object())?;
        let next = next.strip_prefix(b" ").unwrap_or(next);
        next.first().filter(|byte| byte.is_ascii_digit() || **byte == b'-').map(|_| next)
    }

    fn token<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let (token, rest) = split_token(bytes);
        self.text.push(token);
        if !rest.is_empty() {
            self.end_of_token(sink);
        }
        rest
    }

    fn end_of_token(&mut self, sink: &mut impl Sink) {
        let scalar = token(self.text.excerpt());
        self.scalar(scalar, sink);
    }

    fn scalar(&mut self, scalar: Option<Scalar<'_>>, sink: &mut impl Sink) {
        match scalar {
            Some(scalar) => {
                sink.scalar(scalar);
                self.after_value();
            }
            None => self.state = State::Broken,
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

fn split_token(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

/// A scalar that is not a string.
pub(crate) fn token(text: Excerpt<'_>) -> Option<Scalar<'static>> {
    Some(match text.head {
        b"null" => Scalar::Null,
        b"true" => Scalar::Boolean(true),
        b"false" => Scalar::Boolean(false),
        b"NaN" => Scalar::NotANumber,
        b"Infinity" => Scalar::Number(Some(f64::INFINITY)),
        b"-Infinity" => Scalar::Number(Some(f64::NEG_INFINITY)),
        head if text.whole().is_none() => {
            let looks = head.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
            return looks.then_some(Scalar::Number(None));
        }
        head => Scalar::Number(Some(number::parse(head)?)),
    })
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
