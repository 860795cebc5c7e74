//! A stream that ends when nobody takes what it has to say.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Bytes waited to be written, and none was taken in time.
#[derive(Debug, thiserror::Error)]
#[error("the peer took nothing for {0:?}")]
pub(super) struct Stalled(Duration);

impl Stalled {
    /// Whether this is what an error comes from, however deep.
    pub(super) fn is_behind(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            // The source of an `io::Error` is that of the error inside it.
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            if error.is::<Self>() || inner.is_some_and(|inner| inner.is::<Self>()) {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// A stream whose writes fail once none has made progress for a while. It stands below TLS, where
/// what waits to be written is what the peer does not take.
pub(super) struct Progress<S> {
    stream: S,
    limit: Duration,
    /// Runs while bytes wait.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Progress<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            waiting: None,
        }
    }

    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Stalled(limit))))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A TCP stream has nothing to flush, and its shutdown waits for nobody.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Instant};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// One attempt, and until when the stream is patient after it.
    async fn attempt(
        stream: &mut Progress<DuplexStream>,
    ) -> (Poll<io::Result<usize>>, Option<Instant>) {
        poll_fn(|context| {
            let written = Pin::new(&mut *stream).poll_write(context, b"abcd");
            let until = stream.waiting.as_ref().map(|waiting| waiting.deadline());
            Poll::Ready((written, until.map(tokio::time::Instant::into_std)))
        })
        .await
    }

    #[tokio::test]
    async fn each_byte_that_is_taken_starts_the_clock_anew_and_an_attempt_does_not() {
        let (ours, mut theirs) = duplex(4);
        let mut stream = Progress::new(ours, LONG);
        assert!(matches!(
            attempt(&mut stream).await,
            (Poll::Ready(Ok(4)), None)
        ));
        let (written, first) = attempt(&mut stream).await;
        assert!(written.is_pending());
        assert_eq!(attempt(&mut stream).await.1, first);
        theirs.read_u8().await.unwrap();
        assert!(matches!(
            attempt(&mut stream).await,
            (Poll::Ready(Ok(1)), None)
        ));
        let (written, second) = attempt(&mut stream).await;
        assert!(written.is_pending());
        assert!(second > first);
    }

    #[tokio::test]
    async fn what_nobody_takes_ends_with_an_error_that_tells_so() {
        let (ours, _theirs) = duplex(4);
        let mut stream = Progress::new(ours, Duration::from_millis(50));
        let error = stream.write_all(b"abcde").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(Stalled::is_behind(&error));
        assert!(!Stalled::is_behind(&io::Error::other("another")));
    }
}
