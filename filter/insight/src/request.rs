//! Reads a request's body, piece by piece.

use scoretap_host as host;
use scoretap_scan::columns::Column;
use scoretap_scan::request::{About, Asked, RequestScanner};

use crate::answer::{HEADER_LENGTH, number};
use crate::pieces::{self, Piece};
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
    pub(crate) fn read(&mut self, size: usize, is_last: bool, began: u64, columns: &[Column]) {
        let Some(left) = self.scanner.left() else { return };
        let piece = Piece { ask: host::request_body, size, began };
        let is_read = pieces::read(piece, self.scanner.is_inflating(), left, |part| {
            self.scanner.feed(part, columns);
            self.scanner.left()
        });
        if !is_read {
            self.scanner.stop();
        } else if is_last {
            self.scanner.end();
        }
        if !self.scanner.is_inflating() {
            self.window = None;
        }
    }

    /// How many choices the request asks for.
    pub(crate) fn choices(&self) -> u32 {
        self.scanner.choices()
    }

    /// Ends the request, at the end of its body or where it broke off.
    pub(crate) fn finish(self, columns: &[Column]) -> Asked {
        self.scanner.finish(columns)
    }
}
