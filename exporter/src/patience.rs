//! A stream on which an answer must be taken within a time, however slowly its reader reads, and which says when that
//! is done.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::places::Seat;

/// How many answers a connection has begun: each has its own time.
pub(crate) type Answers = Arc<AtomicU64>;

/// A stream with a limit to the time that an answer takes.
pub(crate) struct Patient<S> {
    stream: S,
    limit: Duration,
    answers: Answers,
    seat: Arc<Seat>,
    /// The answer that is being written, and when that must be over.
    current: u64,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) const fn new(stream: S, limit: Duration, answers: Answers, seat: Arc<Seat>) -> Self {
        Self { stream, limit, answers, seat, current: 0, deadline: None }
    }

    /// An error where the answer in hand has taken too long; else the context is woken when it has.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let current = self.answers.load(Ordering::Relaxed);
        let limit = self.limit;
        if self.current != current || self.deadline.is_none() {
            self.current = current;
            self.deadline = Some(Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        }
        let is_over =
            self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        match flushed {
            Poll::Pending => self.check(context)?,
            Poll::Ready(Ok(())) => self.seat.sent(),
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
