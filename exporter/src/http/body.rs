//! The body of a response, handed to the connection piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The maximum size of a piece, in bytes.
const PIECE: usize = 64 * 1024;

/// A complete body.
#[derive(Debug, Default)]
pub struct Answer {
    rest: Bytes,
}

impl Answer {
    /// A body.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { rest: bytes.into() }
    }

    /// A body that returns `permit` when its last piece is written or dropped.
    pub fn with_permit(bytes: impl Into<Bytes>, permit: OwnedSemaphorePermit) -> Self {
        Self::new(Bytes::from_owner(Permitted { bytes: bytes.into(), _permit: permit }))
    }
}

/// Bytes and a permit that is held as long as the bytes: the connection keeps a piece after the body is dropped.
struct Permitted {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Permitted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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
