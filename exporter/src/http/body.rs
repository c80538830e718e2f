//! The body of an answer, given to the connection piece by piece: what was not sent yet keeps its place taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::places::Busy;

/// Larger ones are given back to the system.
const LARGEST_SPARE: usize = 16 * 1024 * 1024;

/// The memory of the last exposition, for the next one: to get some megabytes from the system, page by page, takes as
/// long as to fill them.
#[derive(Clone, Debug, Default)]
pub struct Spare(Arc<Mutex<Vec<u8>>>);

impl Spare {
    /// Memory to write to, empty.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An exposition whose memory comes back here when it has been sent.
    pub fn lend(&self, exposition: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { exposition, spare: self.clone() })
    }
}

struct Lent {
    exposition: Vec<u8>,
    spare: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.exposition
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.spare.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (spare.capacity()..=LARGEST_SPARE).contains(&self.exposition.capacity()) {
            self.exposition.clear();
            *spare = std::mem::take(&mut self.exposition);
        }
    }
}

/// So much is in the connection's own buffer at most.
const PIECE: usize = 64 * 1024;

/// Bytes that are all there.
#[derive(Debug, Default)]
pub struct Answer {
    rest: Bytes,
    /// Given back when all is sent, or nobody wants it any more.
    _place: Option<OwnedSemaphorePermit>,
    /// As long as somebody waits for it.
    _busy: Option<Busy>,
}

impl Answer {
    /// A body that takes no place.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { rest: bytes.into(), ..Self::default() }
    }

    /// A body that takes a place until it is sent.
    pub fn placed(bytes: impl Into<Bytes>, place: OwnedSemaphorePermit) -> Self {
        Self { rest: bytes.into(), _place: Some(place), _busy: None }
    }

    /// The same, for whom the connection is busy.
    pub(crate) fn awaited(self, busy: Busy) -> Self {
        Self { _busy: Some(busy), ..self }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
