//! Finds the predictions in a JSON answer, its model and its errors.
//!
//! The place of a value follows from the place of its container and its key, so a table of transitions and a short
//! stack suffice.

use crate::json::{Container, Scalar, Sink};
use crate::record::{Finding, MODEL, VERSION};
use crate::tally::Tally;
use crate::tensor::element;
use crate::text::{Excerpt, Text};

/// The deepest level that is read. No field of interest is deeper.
const DEEPEST: usize = 12;

/// Keys of predictions, the most telling first. A later key in an answer counts only if it is more telling.
const KEYS: [(&[u8], Rank); 11] = [
    (b"predictions", Rank(2)),
    (b"prediction", Rank(3)),
    (b"outputs", Rank::OUTPUTS),
    (b"result", Rank(5)),
    (b"results", Rank(6)),
    (b"output", Rank(7)),
    (b"scores", Rank(8)),
    (b"jsonData", Rank(9)),
    (b"strData", Rank(9)),
    (b"data", Rank::DATA),
    (b"error", Rank::ERROR),
];

/// How telling a key is; the lowest is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u8);

impl Rank {
    /// The answer is nothing but predictions.
    const ROOT: Self = Self(0);
    /// The operator's own key.
    const CONFIGURED: Self = Self(1);
    /// The outputs of a v2 answer, and TensorFlow Serving's columns.
    const OUTPUTS: Self = Self(4);
    /// May also echo the input.
    const DATA: Self = Self(10);
    /// A number here is a prediction, such as a reconstruction error. Anything else reports a failure.
    const ERROR: Self = Self(11);
}

/// Keys of a prediction that is an object, as MLflow's and Hugging Face's pipelines return.
const FIELDS: [&[u8]; 9] = [
    b"prediction",
    b"label",
    b"class",
    b"score",
    b"probability",
    b"value",
    b"output",
    b"result",
    b"confidence",
];

/// The meaning of a value, by its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Ignored,
    /// The whole answer.
    Root,
    /// The value of one of [`KEYS`].
    Predictions(Rank),
    Row,
    Element,
    Field,
    /// A tensor of a v2 answer.
    Output,
    /// A Seldon answer's `data`, an object.
    Seldon,
    /// A Seldon answer's `tensor`.
    Tensor,
    Shape,
    Dimension,
    Data,
    Datum,
    Status,
    StatusFlag,
    ErrorCode,
    Parameters,
    BinarySize,
    DataType,
    ModelName,
    ModelVersion,
}

/// The first tensor of a v2 answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tensor {
    pub(crate) datatype: Text<8>,
    /// The first dimension, once known.
    pub(crate) rows: Option<u64>,
    /// The number of elements in a row: the product of the other dimensions.
    pub(crate) width: u64,
    /// How many bytes of the tensor follow the JSON part.
    pub(crate) binary: Option<u64>,
    /// Whether values were counted before the shape was known.
    unshaped: bool,
}

/// How a JSON answer is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    #[default]
    Document,
    /// Each line is a prediction or an answer.
    Lines,
}

/// Reads an answer's predictions.
#[derive(Debug, Default)]
pub(crate) struct Predictions {
    pub(crate) tally: Tally,
    pub(crate) model: Text<MODEL>,
    pub(crate) version: Text<VERSION>,
    pub(crate) tensor: Tensor,
    layout: Layout,
    /// The operator's own key, which wins over all others.
    key: Text<32>,
    stack: [Place; DEEPEST],
    depth: usize,
    /// The number of levels below the last one of interest.
    ignored: u32,
    /// The place of the value that follows the key just read.
    next: Place,
    /// The rank of the key of the counted predictions.
    rank: Option<Rank>,
    outputs: u32,
    error: Finding,
}

impl Predictions {
    pub(crate) fn new(layout: Layout, key: &[u8]) -> Self {
        Self { layout, key: Text::from(key), ..Self::default() }
    }

    /// The error that the answer reports.
    pub(crate) fn error(&self) -> Finding {
        match self.error {
            Finding::Structured if self.tally.rows > 0 => Finding::Mentioned,
            found => found,
        }
    }

    /// Checks a text that is the answer or a prediction for an exception.
    pub(crate) fn mention(&mut self, text: Excerpt<'_>) {
        if reads_like_an_exception(text) {
            self.error = self.error.max(Finding::Mentioned);
        }
    }

    /// Ends the answer. A tensor's shape determines the number of rows, even if its values look different.
    pub(crate) fn settle(&mut self) {
        if let Some(rows) = self.tensor.rows {
            self.tally.rows = rows;
        }
    }

    /// Whether the next string is the whole answer, and may hold a document.
    pub(crate) fn may_nest(&self) -> bool {
        self.depth == 0 && self.ignored == 0 && self.layout == Layout::Document
    }

    /// Begins another document of the same body.
    pub(crate) fn restart(&mut self) {
        (self.depth, self.ignored, self.next) = (0, 0, Place::Ignored);
    }

    /// Forgets the document, because it was only a text.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.layout, self.key.head());
    }

    #[inline]
    fn container(&self) -> Place {
        self.depth.checked_sub(1).and_then(|top| self.stack.get(top)).copied().unwrap_or(Place::Ignored)
    }

    /// The place of the value that begins now.
    #[inline]
    fn place(&self) -> Place {
        if self.ignored > 0 {
            return Place::Ignored;
        }
        if self.depth == 0 {
            return Place::Root;
        }
        match self.container() {
            // Containers that are arrays; all others are objects, whose keys say what follows.
            Place::Predictions(_) => Place::Row,
            Place::Element => Place::Element,
            Place::Shape => Place::Dimension,
            Place::Datum => Place::Datum,
            _ => self.next,
        }
    }

    fn push(&mut self, place: Place) {
        match self.stack.get_mut(self.depth) {
            Some(slot) if place != Place::Ignored => {
                *slot = place;
                self.depth = self.depth.saturating_add(1);
            }
            _ => self.ignored = self.ignored.saturating_add(1),
        }
        self.next = Place::Ignored;
    }

    /// Whether predictions under a key of this rank count. If so, forgets those under a less telling key.
    fn prefer(&mut self, rank: Rank) -> bool {
        match self.rank {
            Some(known) if known < rank => return false,
            Some(known) if known == rank => return self.layout == Layout::Lines,
            Some(_) => {
                self.tally.clear();
                self.tensor = Tensor::default();
            }
            None => {}
        }
        self.rank = Some(rank);
        true
    }

    fn enter_array(&mut self, place: Place) -> Place {
        match place {
            Place::Root if !self.prefer(Rank::ROOT) => Place::Ignored,
            Place::Root if self.layout == Layout::Lines => Place::Element,
            Place::Root => Place::Predictions(Rank::ROOT),
            Place::Predictions(rank) if self.prefer(rank) => place,
            Place::Row => Place::Element,
            Place::Shape => {
                (self.tensor.rows, self.tensor.width) = (None, 1);
                place
            }
            Place::Data | Place::Datum => Place::Datum,
            Place::Element => {
                self.tally.nested_element();
                Place::Ignored
            }
            _ => Place::Ignored,
        }
    }

    fn enter_object(&mut self, place: Place) -> Place {
        match place {
            Place::Tensor if !self.prefer(Rank::DATA) => Place::Ignored,
            Place::Root | Place::Status | Place::Tensor | Place::Parameters => place,
            Place::Predictions(Rank::DATA) => Place::Seldon,
            Place::Predictions(rank) => self.enter_row(rank),
            Place::Row => match self.container() {
                Place::Predictions(Rank::OUTPUTS) => self.enter_output(),
                Place::Predictions(rank) => self.enter_row_of(rank),
                _ => Place::Ignored,
            },
            Place::Element => {
                self.tally.nested_element();
                Place::Ignored
            }
            _ => Place::Ignored,
        }
    }

    /// Enters a tensor of a v2 answer. Only the first one counts: further ones describe the same rows.
    fn enter_output(&mut self) -> Place {
        self.outputs = self.outputs.saturating_add(1);
        if self.outputs == 1 { Place::Output } else { Place::Ignored }
    }

    /// Enters a single row under a key of predictions.
    fn enter_row(&mut self, rank: Rank) -> Place {
        if rank == Rank::ERROR || self.prefer(rank) { self.enter_row_of(rank) } else { Place::Ignored }
    }

    fn enter_row_of(&mut self, rank: Rank) -> Place {
        if rank == Rank::ERROR {
            self.error = Finding::Structured;
            return Place::Ignored;
        }
        self.tally.add_row();
        Place::Field
    }

    fn follow(&self, key: &[u8]) -> Place {
        match (self.container(), key) {
            (Place::Root, _) => self.follow_root(key),
            (Place::Seldon, b"ndarray") => Place::Predictions(Rank::DATA),
            (Place::Seldon, b"tensor") => Place::Tensor,
            (Place::Tensor | Place::Output, b"shape") => Place::Shape,
            (Place::Tensor, b"values") | (Place::Output, b"data") => Place::Data,
            (Place::Output, b"datatype") => Place::DataType,
            (Place::Output, b"parameters") => Place::Parameters,
            (Place::Parameters, b"binary_data_size") => Place::BinarySize,
            (Place::Status, b"status") => Place::StatusFlag,
            (Place::Field, _) if FIELDS.contains(&key) => Place::Field,
            _ => Place::Ignored,
        }
    }

    fn follow_root(&self, key: &[u8]) -> Place {
        if !self.key.is_empty() && key == self.key.head() {
            return Place::Predictions(Rank::CONFIGURED);
        }
        match key {
            b"model_name" => Place::ModelName,
            b"model_version" => Place::ModelVersion,
            b"status" => Place::Status,
            b"error_code" => Place::ErrorCode,
            _ => KEYS
                .iter()
                .find(|(known, _)| *known == key)
                .map_or(Place::Ignored, |(_, rank)| Place::Predictions(*rank)),
        }
    }

    /// Counts a scalar under a key of predictions, or an element of an array there.
    #[inline]
    fn prediction(&mut self, rank: Rank, scalar: Scalar<'_>, is_element: bool) {
        if rank == Rank::ERROR {
            match scalar {
                Scalar::Number(_) | Scalar::NotANumber => {}
                Scalar::Null | Scalar::Boolean(false) => return,
                Scalar::String(text) if text.is_empty() => return,
                Scalar::String(_) | Scalar::Boolean(true) => {
                    self.error = Finding::Structured;
                    return;
                }
            }
        }
        if is_element || self.prefer(rank) {
            self.tally.row(scalar);
            if let Scalar::String(text) = scalar {
                self.mention(text);
            }
        }
    }

    fn datum(&mut self, scalar: Scalar<'_>) {
        self.tensor.unshaped |= self.tensor.width == 0;
        element(scalar, self.tensor.width, &mut self.tally);
    }

    fn dimension(&mut self, scalar: Scalar<'_>) {
        let Some(size) = whole(scalar) else { return };
        if self.tensor.rows.is_none() {
            self.tensor.rows = Some(size);
        } else {
            self.tensor.width = self.tensor.width.saturating_mul(size);
        }
    }

    fn leave(&mut self, place: Place) {
        match place {
            Place::Element => self.tally.end_vector(),
            Place::Datum if self.container() != Place::Datum && self.tally.elements() > 0 => {
                self.tally.end_vector();
            }
            Place::Output | Place::Tensor => self.leave_tensor(),
            _ => {}
        }
    }

    /// Forgets values that came before a shape with several columns, because they were not grouped into rows.
    fn leave_tensor(&mut self) {
        if self.tensor.unshaped && self.tensor.width > 1 {
            self.tally.clear_values();
        }
    }
}

impl Sink for Predictions {
    fn open(&mut self, container: Container) {
        let place = self.place();
        let place = match container {
            Container::Array => self.enter_array(place),
            Container::Object => self.enter_object(place),
        };
        self.push(place);
    }

    fn close(&mut self) {
        if self.ignored > 0 {
            self.ignored = self.ignored.saturating_sub(1);
            return;
        }
        let place = self.container();
        self.depth = self.depth.saturating_sub(1);
        self.leave(place);
    }

    fn key(&mut self, key: &[u8]) {
        if self.ignored == 0 {
            self.next = self.follow(key);
            if self.container() == Place::Field && self.next == Place::Ignored {
                self.tally.skip();
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        match self.place() {
            Place::Root => self.prediction(Rank::ROOT, scalar, false),
            Place::Predictions(rank) => self.prediction(rank, scalar, false),
            Place::Row => {
                if let Place::Predictions(rank) = self.container() {
                    self.prediction(rank, scalar, true);
                }
            }
            Place::Element => self.tally.element(scalar),
            Place::Field => self.tally.value(scalar),
            Place::Datum => self.datum(scalar),
            Place::Dimension => self.dimension(scalar),
            Place::BinarySize => self.tensor.binary = whole(scalar),
            Place::DataType => copy(&mut self.tensor.datatype, scalar),
            Place::ModelName => copy(&mut self.model, scalar),
            Place::ModelVersion => copy(&mut self.version, scalar),
            Place::StatusFlag if reports_failure(scalar) => self.error = Finding::Structured,
            Place::ErrorCode if !matches!(scalar, Scalar::Null) => self.error = Finding::Structured,
            _ => {}
        }
        self.next = Place::Ignored;
    }

    fn piece(&mut self, _: &[u8]) {}
}

/// Whether Seldon's `status.status` reports a failure: it is then 1 or `FAILURE`.
fn reports_failure(scalar: Scalar<'_>) -> bool {
    match scalar {
        Scalar::String(text) => text.head == b"FAILURE",
        Scalar::Number(number) => number == Some(1.0),
        Scalar::Null | Scalar::Boolean(_) | Scalar::NotANumber => false,
    }
}

fn copy<const N: usize>(to: &mut Text<N>, scalar: Scalar<'_>) {
    if let Scalar::String(text) = scalar {
        *to = Text::from(text.head);
    }
}

/// A number that counts something.
pub(crate) fn whole(scalar: Scalar<'_>) -> Option<u64> {
    match scalar {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the guard")]
        Scalar::Number(Some(number)) if (0.0..=9e15).contains(&number) && number.trunc() == number => {
            Some(number as u64)
        }
        _ => None,
    }
}

/// Words of exceptions' texts, as Python and its model servers write them.
const WORDS: [&[u8]; 18] = [
    b"error",
    b"exception",
    b"traceback",
    b"could not ",
    b"cannot ",
    b"unable to ",
    b"unterminated ",
    b"expecting ",
    b"expected ",
    b"unexpected ",
    b"invalid ",
    b"unsupported ",
    b"not supported",
    b"out of range",
    b"has no attribute",
    b"failed",
    b"missing ",
    b"not found",
];

/// The longest text that may be an exception, in bytes. A model more likely generated longer ones.
const LONGEST_EXCEPTION: u32 = 512;

/// Guesses whether a text in place of a prediction is an exception's.
fn reads_like_an_exception(text: Excerpt<'_>) -> bool {
    let head = text.head;
    let has = |word: &&[u8]| head.windows(word.len().max(1)).any(|window| window.eq_ignore_ascii_case(word));
    text.length <= LONGEST_EXCEPTION && head.contains(&b' ') && WORDS.iter().any(has)
}
