//! Reads a request's body, piece by piece.

use scoretap_host as host;
use scoretap_scan::columns::Column;
use scoretap_scan::record::{ColumnCounts, MODEL};
use scoretap_scan::request::{About, RequestScanner};
use scoretap_scan::text::Text;

use crate::answer::{HEADER_LENGTH, number};
use crate::pieces;
use crate::windows::Window;

/// A request whose body is being read.
#[derive(Debug)]
pub(crate) struct Request {
    scanner: RequestScanner,
    /// Held while the scanner inflates.
    window: Option<Window>,
}

impl Request {
    /// A request whose headers have arrived, with the columns to count.
    pub(crate) fn new(most_bytes: u64, columns: &[Column]) -> Self {
        let content_type = host::request_header("content-type").unwrap_or_default();
        let encoding = host::request_header("content-encoding").unwrap_or_default();
        // Only columns are in binary tensors.
        let header_length = if columns.is_empty() { None } else { host::request_header(HEADER_LENGTH) };
        let window = if encoding.is_empty() { None } else { Window::take() };
        let about = About {
            content_type: &content_type,
            encoding: &encoding,
            header_length: header_length.as_deref().and_then(number),
            most_bytes,
            may_inflate: window.is_some(),
        };
        let scanner = RequestScanner::new(&about, columns);
        let window = window.filter(|_| scanner.is_inflating());
        Self { scanner, window }
    }

    /// Reads the piece of this size that the running callback, which began at this time, is for.
    pub(crate) fn read(&mut self, size: usize, began: u64, columns: &[Column]) {
        if self.scanner.is_done() {
            return;
        }
        let step = pieces::step(self.scanner.is_inflating());
        let is_read = pieces::read(host::request_body, size, step, began, |part| {
            let before = self.scanner.left();
            self.scanner.feed(part, columns);
            let scanned = before.saturating_sub(self.scanner.left()).max(part.len() as u64);
            (!self.scanner.is_done()).then_some(scanned)
        });
        if !is_read {
            self.end(columns);
        }
        if !self.scanner.is_inflating() {
            self.window = None;
        }
    }

    /// Ends the body, or leaves the rest of it unread.
    pub(crate) fn end(&mut self, columns: &[Column]) {
        self.scanner.end(columns);
        self.window = None;
    }

    /// The model that the request asks for.
    pub(crate) fn model(&self) -> Text<MODEL> {
        self.scanner.model()
    }

    /// How many choices the request asks for.
    pub(crate) fn choices(&self) -> u32 {
        self.scanner.choices()
    }

    /// The columns that have values.
    pub(crate) fn columns(&self) -> Vec<ColumnCounts> {
        self.scanner.columns()
    }
}
