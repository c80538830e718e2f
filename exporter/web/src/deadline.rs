//! A stream that fails if a client does not read an answer within a time limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::slots::Slot;

/// A stream with a write deadline for each answer.
pub(crate) struct WriteDeadline<S> {
    stream: S,
    limit: Duration,
    slot: Arc<Slot>,
    /// The answer that is being written.
    answer: u64,
    /// When the answer must be written. Cleared once it is.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    pub(crate) const fn new(stream: S, limit: Duration, slot: Arc<Slot>) -> Self {
        Self { stream, limit, slot, answer: 0, deadline: None }
    }

    /// Fails after the deadline. Before it, registers the context to be woken at the deadline.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let answer = self.slot.answers();
        if self.answer != answer {
            self.answer = answer;
            self.deadline = None;
        }
        let limit = self.limit;
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        if deadline.as_mut().poll(context).is_ready() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
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
            Poll::Ready(Ok(())) if self.slot.flushed() => self.deadline = None,
            Poll::Ready(_) => {}
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::UnixStream;
    use tokio::time::advance;

    use super::*;
    use crate::slots::Slots;

    #[test]
    fn each_answer_has_its_own_deadline() {
        const LIMIT: Duration = Duration::from_secs(60);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let held = Slots::new(1, LIMIT).take().await.unwrap();
            let (stream, _reader) = UnixStream::pair().unwrap();
            let mut stream = WriteDeadline::new(stream, LIMIT, held.slot());
            let mut writes =
                async || poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"a")).await.is_ok();
            held.answer();
            assert!(writes().await);
            advance(LIMIT / 2).await;
            // The first answer is not flushed, as when a client sends two requests at once.
            held.answer();
            assert!(writes().await);
            advance(LIMIT * 3 / 4).await;
            assert!(writes().await);
            advance(LIMIT / 2).await;
            assert!(!writes().await);
        });
    }
}
