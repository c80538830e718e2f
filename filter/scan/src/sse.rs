//! Server-sent events, as LLMs stream them.

use memchr::memchr2;

use crate::json::Lexer;
use crate::llm::Llm;
use crate::text::Text;

/// The data of the event that ends OpenAI's streams.
const DONE: &[u8] = b"[DONE]";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In a field's name.
    #[default]
    Name,
    /// After the colon, where one space is skipped.
    Colon,
    Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    #[default]
    Other,
}

/// The state between two pieces of a stream.
#[derive(Debug)]
pub(crate) struct Events {
    state: State,
    field: Field,
    name: Text<8>,
    /// The last byte was a carriage return, so a line feed now belongs to the same line break.
    after_return: bool,
    event: Text<8>,
    /// The beginning of the event's data.
    data: Text<8>,
    has_data: bool,
    lexer: Lexer,
    readable: bool,
    pub(crate) llm: Llm,
}

impl Events {
    pub(crate) fn new(llm: Llm) -> Self {
        Self {
            state: State::default(),
            field: Field::default(),
            name: Text::default(),
            after_return: false,
            event: Text::default(),
            data: Text::default(),
            has_data: false,
            lexer: Lexer::default(),
            readable: false,
            llm,
        }
    }

    pub(crate) fn feed(&mut self, piece: &[u8], now: u64) {
        self.llm.at(now);
        let mut rest = piece;
        while let Some((byte, tail)) = rest.split_first() {
            let is_second_half = std::mem::take(&mut self.after_return) && *byte == b'\n';
            rest = match byte {
                b'\n' if is_second_half => tail,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.end_line();
                    tail
                }
                _ => self.line(*byte, rest),
            };
        }
    }

    /// Ends the stream. The last event may lack its empty line. Returns whether an event could be read.
    pub(crate) fn finish(&mut self) -> bool {
        self.end_line();
        self.end_event();
        self.readable
    }

    fn line<'a>(&mut self, byte: u8, bytes: &'a [u8]) -> &'a [u8] {
        let one = |bytes: &'a [u8]| bytes.get(1..).unwrap_or_default();
        match (self.state, byte) {
            // Most lines begin like this.
            (State::Name, b'd') if self.name.is_empty() && bytes.starts_with(b"data: ") => {
                self.name.push(b"data");
                self.begin_value();
                self.state = State::Value;
                bytes.get(b"data: ".len()..).unwrap_or_default()
            }
            (State::Name, b':') => {
                self.begin_value();
                one(bytes)
            }
            (State::Name, _) => {
                self.name.push(&[byte]);
                one(bytes)
            }
            (State::Colon, b' ') => {
                self.state = State::Value;
                one(bytes)
            }
            (State::Colon | State::Value, _) => {
                self.state = State::Value;
                let end = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
                let (value, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
                self.value(value);
                rest
            }
        }
    }

    fn begin_value(&mut self) {
        self.state = State::Colon;
        self.field = match self.name.whole() {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            _ => Field::Other,
        };
        match self.field {
            // Lines of data are joined by line feeds.
            Field::Data if self.has_data => self.data(b"\n"),
            Field::Data => self.has_data = true,
            Field::Event => self.event.clear(),
            Field::Other => {}
        }
    }

    fn value(&mut self, value: &[u8]) {
        match self.field {
            Field::Data => self.data(value),
            Field::Event => self.event.push(value),
            Field::Other => {}
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.data.push(bytes);
        self.lexer.feed(bytes, &mut self.llm);
    }

    fn end_line(&mut self) {
        let is_empty = self.state == State::Name && self.name.is_empty();
        (self.state, self.field) = (State::Name, Field::Other);
        self.name.clear();
        if self.data.whole() == Some(DONE) {
            self.llm.end();
            self.readable = true;
        }
        if is_empty {
            self.end_event();
        }
    }

    fn end_event(&mut self) {
        self.lexer.finish(&mut self.llm);
        self.readable |= self.lexer.is_complete();
        if self.has_data && self.event.whole() == Some(b"error") {
            self.llm.fail();
        }
        self.lexer.restart();
        self.llm.restart();
        self.event.clear();
        self.data.clear();
        self.has_data = false;
    }
}
