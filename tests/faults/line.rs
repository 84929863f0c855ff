//! A TCP connection that records when data last moved on it. Used by the listener; must never change the data.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub struct Line {
    /// None: it was reset.
    stream: Arc<Mutex<Option<TcpStream>>>,
    last: Arc<Mutex<Instant>>,
}

/// The same connection, observed from outside.
pub struct Moved {
    stream: Arc<Mutex<Option<TcpStream>>>,
    last: Arc<Mutex<Instant>>,
}

impl Line {
    pub fn new(stream: TcpStream) -> (Line, Moved) {
        let (stream, last) = (Arc::new(Mutex::new(Some(stream))), Arc::new(Mutex::new(Instant::now())));
        (Line { stream: stream.clone(), last: last.clone() }, Moved { stream, last })
    }

    fn poll<T>(
        &self,
        act: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
        moves: impl FnOnce(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = stream.as_mut() else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        let result = act(Pin::new(stream));
        if matches!(&result, Poll::Ready(Ok(value)) if moves(value)) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        result
    }
}

impl Moved {
    pub fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it with RST: with a linger time of zero the kernel sends no FIN.
    pub fn reset(&self) {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        #[allow(deprecated)] // it blocks for the linger time, which is zero
        stream.expect("nobody else resets it").set_linger(Some(Duration::ZERO)).expect("set");
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = self.poll(
            |stream| stream.poll_read(context, buffer).map_ok(|()| buffer.filled().len()),
            |after| *after > before,
        );
        result.map_ok(drop)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(context, bytes), |count| *count > 0)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(context), |()| false)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(context), |()| false)
    }
}
