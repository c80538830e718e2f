//! Reads an answer's body, piece by piece.

use scoretap_host as host;
use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::record::Record;

use crate::pieces::{self, Piece};
use crate::windows::Window;

/// How many bytes of a body of the v2 protocol are JSON, if tensors follow as bytes.
pub(crate) const HEADER_LENGTH: &str = "inference-header-content-length";

/// The value of a header that is a number.
pub(crate) fn number(header: &[u8]) -> Option<u64> {
    std::str::from_utf8(header).ok()?.parse().ok()
}

/// An answer whose body is being read.
#[derive(Debug)]
pub(crate) struct Answer {
    scanner: AnswerScanner,
    /// Held while the scanner inflates.
    window: Option<Window>,
    /// When the request had arrived. The scanner's clock starts there.
    start: u64,
}

impl Answer {
    /// An answer whose headers have arrived; `about` is completed with what they say.
    pub(crate) fn new(about: &About<'_>, start: u64) -> Self {
        let content_type = host::response_header("content-type").unwrap_or_default();
        let encoding = host::response_header("content-encoding").unwrap_or_default();
        let header_length = host::response_header(HEADER_LENGTH);
        let window = if encoding.is_empty() { None } else { Window::take() };
        let scanner = AnswerScanner::new(&About {
            content_type: &content_type,
            encoding: &encoding,
            header_length: header_length.as_deref().and_then(number),
            may_inflate: window.is_some(),
            ..*about
        });
        let window = window.filter(|_| scanner.is_inflating());
        Self { scanner, window, start }
    }

    /// Reads the piece of this size that the running callback is for.
    pub(crate) fn read(&mut self, size: usize) {
        let Some(left) = self.scanner.left() else {
            self.scanner.skip(size);
            return;
        };
        let began = host::monotonic_time();
        let now = began.saturating_sub(self.start);
        let piece = Piece { ask: host::response_body, size, began };
        let is_read = pieces::read(piece, self.scanner.is_inflating(), left, |part| {
            self.scanner.feed(part, now);
            self.scanner.left()
        });
        if !is_read {
            self.scanner.stop();
        }
        if !self.scanner.is_inflating() {
            self.window = None;
        }
    }

    /// The record at the end of the body, or where it broke off.
    pub(crate) fn finish(self) -> Record {
        self.scanner.finish()
    }
}
