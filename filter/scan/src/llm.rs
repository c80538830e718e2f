//! Reads an LLM's answer: the model, tokens, finish reasons, content events and its own end.
//!
//! Reads the answers of OpenAI's chat completions, completions and responses, of Anthropic's messages and of Triton's
//! `generate`, whole or one event at a time. Their keys do not collide, so one table of transitions serves all.

use crate::cells::{GAP_CELLS, gap_cell};
use crate::json::{Container, Scalar, Sink};
use crate::predictions::whole;
use crate::record::{Finding, Finish, FinishCounts, MODEL, VERSION};
use crate::text::Text;
use crate::usage::Usage;

/// The deepest level that is read. No field of interest is deeper.
const DEEPEST: usize = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Ignored,
    Root,
    Choices,
    Choice,
    /// The content that a choice or an event adds.
    Delta,
    Content,
    ToolCalls,
    Index,
    FinishReason,
    /// Anthropic's reason for the whole message.
    StopReason,
    /// The status of one of OpenAI's responses.
    Status,
    Incomplete,
    /// An object around a model and a usage in an event.
    Wrapper,
    Usage,
    Input,
    Output,
    InputDetails,
    OutputDetails,
    Cached,
    Reasoning,
    CacheRead,
    CacheCreation,
    Model,
    Version,
    Type,
    Object,
    Error,
}

/// The choice being read.
#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    index: u64,
    is_finished: bool,
}

/// Reads an LLM's answer, document by document.
#[derive(Debug)]
pub(crate) struct Llm {
    pub(crate) model: Text<MODEL>,
    pub(crate) version: Text<VERSION>,
    pub(crate) usage: Usage,
    pub(crate) error: Finding,
    pub(crate) content_events: u64,
    /// When the first content came.
    pub(crate) first_content: Option<u64>,
    pub(crate) last_content: Option<u64>,
    pub(crate) gaps: [u32; GAP_CELLS],
    finish: FinishCounts,
    stop: Option<Finish>,
    /// An event said that the answer ended.
    is_ended: bool,
    /// One bit for each choice.
    seen: u64,
    finished: u64,
    /// How many choices the request asked for.
    expected: u32,
    choice: Choice,
    now: u64,
    has_content: bool,
    stack: [Place; DEEPEST],
    depth: usize,
    ignored: u32,
    next: Place,
}

impl Llm {
    /// A reader for an answer with this many choices; 1 if the request does not say.
    pub(crate) fn new(expected: u32) -> Self {
        Self {
            model: Text::default(),
            version: Text::default(),
            usage: Usage::default(),
            error: Finding::Nothing,
            content_events: 0,
            first_content: None,
            last_content: None,
            gaps: [0; GAP_CELLS],
            finish: FinishCounts::default(),
            stop: None,
            is_ended: false,
            seen: 0,
            finished: 0,
            expected,
            choice: Choice::default(),
            now: 0,
            has_content: false,
            stack: [Place::default(); DEEPEST],
            depth: 0,
            ignored: 0,
            next: Place::default(),
        }
    }

    /// Sets the time at which the following bytes arrived.
    pub(crate) fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// Begins another event.
    pub(crate) fn restart(&mut self) {
        (self.depth, self.ignored, self.next) = (0, 0, Place::Ignored);
        self.has_content = false;
    }

    /// The stream's last event came, or an event reports an error.
    pub(crate) fn end(&mut self) {
        self.is_ended = true;
    }

    /// An event reports an error.
    pub(crate) fn fail(&mut self) {
        self.error = Finding::Structured;
    }

    /// Whether the answer's own end was seen.
    pub(crate) fn is_ended(&self) -> bool {
        let finished = self.finished.count_ones();
        self.is_ended || (finished >= self.expected.max(1) && self.seen == self.finished)
    }

    /// How often each finish reason was given.
    pub(crate) fn finish(&self) -> FinishCounts {
        let mut counts = self.finish;
        if let Some(stop) = self.stop {
            counts.add(stop);
        }
        counts
    }

    fn container(&self) -> Place {
        self.depth.checked_sub(1).and_then(|top| self.stack.get(top)).copied().unwrap_or(Place::Ignored)
    }

    fn place(&self) -> Place {
        match (self.ignored, self.depth, self.container()) {
            (1.., _, _) => Place::Ignored,
            (0, 0, _) => Place::Root,
            (0, _, Place::Choices) => Place::Choice,
            (0, _, Place::ToolCalls) => Place::ToolCalls,
            _ => self.next,
        }
    }

    fn enter(&mut self, container: Container, place: Place) -> Place {
        match (container, place) {
            (Container::Array, Place::Choices | Place::ToolCalls) => place,
            (Container::Object, Place::Choice) => {
                self.choice = Choice::default();
                place
            }
            (Container::Object, Place::ToolCalls) => {
                self.content();
                Place::Ignored
            }
            (Container::Object, Place::Error) => {
                self.fail();
                Place::Ignored
            }
            (
                Container::Object,
                Place::Root
                | Place::Delta
                | Place::Incomplete
                | Place::Wrapper
                | Place::Usage
                | Place::InputDetails
                | Place::OutputDetails,
            ) => place,
            _ => Place::Ignored,
        }
    }

    /// Notes content that a caller sees. Each event counts once.
    fn content(&mut self) {
        if self.has_content {
            return;
        }
        self.has_content = true;
        self.content_events = self.content_events.saturating_add(1);
        if let Some(last) = self.last_content {
            let cell = self.gaps.get_mut(gap_cell(self.now.saturating_sub(last)));
            cell.into_iter().for_each(|cell| *cell = cell.saturating_add(1));
        }
        self.first_content.get_or_insert(self.now);
        self.last_content = Some(self.now);
    }

    fn leave_choice(&mut self) {
        let bit = u32::try_from(self.choice.index)
            .ok()
            .and_then(|index| 1_u64.checked_shl(index))
            .unwrap_or(1 << 63);
        self.seen |= bit;
        if self.choice.is_finished {
            self.finished |= bit;
        }
    }

    fn string(&mut self, place: Place, text: &[u8]) {
        match place {
            // A stream repeats its model in each event.
            Place::Model if self.model.head() == text => {}
            Place::Model => self.model = Text::from(text),
            Place::Version => self.version = Text::from(text),
            Place::FinishReason => {
                self.finish.add(Finish::parse(text));
                self.choice.is_finished = true;
            }
            Place::StopReason => self.stop = Some(Finish::parse(text)),
            Place::Status if text == b"completed" => self.stop = Some(self.stop.unwrap_or(Finish::Stop)),
            Place::Status if text == b"failed" => self.fail(),
            Place::Type => self.event(text),
            Place::Object if text == b"error" => self.fail(),
            Place::Error if !text.is_empty() => self.fail(),
            _ => {}
        }
    }

    fn event(&mut self, name: &[u8]) {
        match name {
            b"message_stop" | b"response.completed" | b"response.incomplete" => self.end(),
            b"error" | b"response.failed" => self.fail(),
            _ => {}
        }
    }

    fn count(&mut self, place: Place, number: u64) {
        let slot = match place {
            Place::Index => {
                self.choice.index = number;
                return;
            }
            Place::Input => &mut self.usage.input,
            Place::Output => &mut self.usage.output,
            Place::Cached => &mut self.usage.cached,
            Place::Reasoning => &mut self.usage.reasoning,
            Place::CacheRead => &mut self.usage.cache_read,
            Place::CacheCreation => &mut self.usage.cache_creation,
            _ => return,
        };
        *slot = Some(number);
    }
}

/// The place of the value of a key.
fn follow(container: Place, key: &[u8]) -> Place {
    match (container, key) {
        (Place::Root, b"choices") => Place::Choices,
        (Place::Root, b"type") => Place::Type,
        (Place::Root, b"object") => Place::Object,
        (Place::Root, b"delta") => Place::Delta,
        (Place::Root, b"text_output") => Place::Content,
        (Place::Root, b"message" | b"response") => Place::Wrapper,
        (Place::Root | Place::Wrapper, b"model" | b"model_name") => Place::Model,
        (Place::Root | Place::Wrapper, b"model_version") => Place::Version,
        (Place::Root | Place::Wrapper, b"usage") => Place::Usage,
        (Place::Root | Place::Wrapper, b"error") => Place::Error,
        (Place::Root | Place::Wrapper, b"status") => Place::Status,
        (Place::Root | Place::Wrapper, b"incomplete_details") => Place::Incomplete,
        (Place::Incomplete, b"reason") => Place::StopReason,
        (Place::Root | Place::Delta, b"stop_reason") => Place::StopReason,
        (Place::Choice, b"index") => Place::Index,
        (Place::Choice, b"finish_reason") => Place::FinishReason,
        (Place::Choice, b"delta" | b"message") => Place::Delta,
        (Place::Choice, b"text") => Place::Content,
        (Place::Delta, b"tool_calls" | b"function_call") => Place::ToolCalls,
        (Place::Delta, _) if DELTAS.contains(&key) => Place::Content,
        (Place::Usage, b"prompt_tokens" | b"input_tokens") => Place::Input,
        (Place::Usage, b"completion_tokens" | b"output_tokens") => Place::Output,
        (Place::Usage, b"cache_read_input_tokens") => Place::CacheRead,
        (Place::Usage, b"cache_creation_input_tokens") => Place::CacheCreation,
        (Place::Usage, b"prompt_tokens_details" | b"input_tokens_details") => Place::InputDetails,
        (Place::Usage, b"completion_tokens_details" | b"output_tokens_details") => Place::OutputDetails,
        (Place::InputDetails, b"cached_tokens") => Place::Cached,
        (Place::OutputDetails, b"reasoning_tokens") => Place::Reasoning,
        _ => Place::Ignored,
    }
}

/// Keys of a delta whose text a caller sees.
const DELTAS: [&[u8]; 7] =
    [b"content", b"reasoning_content", b"reasoning", b"refusal", b"text", b"thinking", b"partial_json"];

impl Sink for Llm {
    fn open(&mut self, container: Container) {
        let place = self.enter(container, self.place());
        match self.stack.get_mut(self.depth) {
            Some(slot) if place != Place::Ignored => {
                *slot = place;
                self.depth = self.depth.saturating_add(1);
            }
            _ => self.ignored = self.ignored.saturating_add(1),
        }
        self.next = Place::Ignored;
    }

    fn close(&mut self) {
        if self.ignored > 0 {
            self.ignored = self.ignored.saturating_sub(1);
            return;
        }
        if self.container() == Place::Choice {
            self.leave_choice();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn key(&mut self, key: &[u8]) {
        if self.ignored == 0 {
            self.next = follow(self.container(), key);
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        let place = self.place();
        match scalar {
            Scalar::String(text) => self.string(place, text.head),
            Scalar::Number(_) => {
                if let Some(number) = whole(scalar) {
                    self.count(place, number);
                }
            }
            Scalar::Boolean(true) if place == Place::Error => self.fail(),
            Scalar::Null | Scalar::Boolean(_) | Scalar::NotANumber => {}
        }
        self.next = Place::Ignored;
    }

    fn piece(&mut self, _: &[u8]) {
        // If an event's `delta` is a text and not an object, it comes from OpenAI's responses.
        if matches!(self.place(), Place::Content | Place::Delta) {
            self.content();
        }
    }
}
