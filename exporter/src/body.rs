//! The body of an answer, given to the connection piece by piece: what was not sent yet keeps its place taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// So much is in the connection's own buffer at most.
const PIECE: usize = 64 * 1024;

/// Bytes that are all there.
#[derive(Debug, Default)]
pub struct Answer {
    rest: Bytes,
    /// Given back when all is sent, or nobody wants it any more.
    _place: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// A body that takes no place.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { rest: bytes.into(), _place: None }
    }

    /// A body that takes a place until it is sent.
    pub fn placed(bytes: impl Into<Bytes>, place: OwnedSemaphorePermit) -> Self {
        Self { rest: bytes.into(), _place: Some(place) }
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
