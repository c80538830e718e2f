//! Reads an answer's body, piece by piece.

use scoretap_host as host;
use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::record::Record;

use crate::pieces;
use crate::windows::Window;

/// How much compressed data is read between two looks at the clock. It may become a hundred times as much.
const COMPRESSED_STEP: usize = 256;

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
        let header_length = host::response_header("inference-header-content-length");
        let window = if encoding.is_empty() { None } else { Window::take() };
        let scanner = AnswerScanner::new(&About {
            content_type: &content_type,
            encoding: &encoding,
            header_length: header_length.and_then(|length| std::str::from_utf8(&length).ok()?.parse().ok()),
            may_inflate: window.is_some(),
            ..*about
        });
        let window = window.filter(|_| scanner.is_inflating());
        Self { scanner, window, start }
    }

    /// Reads the piece of this size that the running callback is for.
    pub(crate) fn read(&mut self, size: usize) {
        if self.scanner.is_done() {
            self.scanner.skip(size);
            return;
        }
        let began = host::monotonic_time();
        let now = began.saturating_sub(self.start);
        let step = if self.scanner.is_inflating() { COMPRESSED_STEP } else { pieces::STEP };
        let is_read = pieces::read(host::response_body, size, step, began, |part| {
            let before = self.scanner.left();
            self.scanner.feed(part, now);
            let scanned = before.saturating_sub(self.scanner.left()).max(part.len() as u64);
            (!self.scanner.is_done()).then_some(scanned)
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
