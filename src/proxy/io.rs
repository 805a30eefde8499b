//! Owns the byte stream of a client connection; what its bytes mean for the waits is stream_state's.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::stream_state::{Activity, StreamState};
use crate::clock::Wait;
use crate::tls::server::ServerStream;

/// Bytes read at once from a client that is not listened to any more.
const LINGER_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes looked at before the protocol is known: most first requests fit, so that looking costs no further receive.
const LOOK_BUFFER_BYTES: usize = 2 * 1024;

/// A client's socket: what goes over the wire is counted here, and how long the client takes nothing.
#[derive(Debug)]
pub(super) struct Socket {
    inner: TcpStream,
    state: Arc<StreamState>,
}

/// What a client's bytes come and go through.
#[derive(Debug)]
enum Transport {
    Plain(Socket),
    Tls(Box<ServerStream<Socket>>),
}

/// The byte stream of a client connection.
#[derive(Debug)]
pub(super) struct ClientStream {
    inner: Transport,
    state: Arc<StreamState>,
    /// What was looked at and is still to be read.
    ahead: Bytes,
    /// Interim heads of which a part has been written.
    interim: Bytes,
    /// The client has sent all it will send.
    is_read: bool,
    /// Our end has been closed.
    is_shut: bool,
}

impl Socket {
    pub(super) fn new(inner: TcpStream, state: Arc<StreamState>) -> Self {
        Self { inner, state }
    }
}

impl Drop for Socket {
    /// Resets a client that takes nothing: what it has not taken would stay with the kernel for as long as it likes.
    fn drop(&mut self) {
        if self.state.watch.expired() == Some(Wait::Write) {
            // It fails only where there is no connection left.
            let _ = self.inner.set_zero_linger();
        }
    }
}

impl ClientStream {
    /// A connection in the clear.
    pub(super) fn plain(socket: Socket) -> Self {
        let state = Arc::clone(&socket.state);
        Self::new(Transport::Plain(socket), state)
    }

    /// A connection whose handshake is done.
    pub(super) fn tls(stream: ServerStream<Socket>) -> Self {
        let state = Arc::clone(&stream.get_ref().0.state);
        Self::new(Transport::Tls(Box::new(stream)), state)
    }

    fn new(inner: Transport, state: Arc<StreamState>) -> Self {
        Self { inner, state, ahead: Bytes::new(), interim: Bytes::new(), is_read: false, is_shut: false }
    }

    /// Looks at what came first, until `is_enough` of it is there; what was looked at is read again.
    ///
    /// # Errors
    /// Those of the transport, and `UnexpectedEof` when nothing more comes.
    pub(super) fn poll_look(
        &mut self,
        cx: &mut Context<'_>,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Poll<io::Result<&[u8]>> {
        while !is_enough(&self.ahead) {
            let mut space = [MaybeUninit::uninit(); LOOK_BUFFER_BYTES];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut space))?;
            self.state.read(space.filled().len() as u64);
            if space.filled().is_empty() {
                self.is_read = true;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.ahead = [&*self.ahead, space.filled()].concat().into();
        }
        Poll::Ready(Ok(&self.ahead))
    }

    /// Writes the interim heads that wait.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.state.interim.is_waiting() {
            if self.interim.is_empty() {
                self.interim = self.state.interim.take();
            }
            while !self.interim.is_empty() {
                let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.interim))?;
                self.interim.advance(bytes);
            }
            self.state.interim.written();
            // The exchange waits for this before it answers, in the task that is running now.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends an interim head that has begun: nothing may come in between.
    fn poll_begun_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() { Poll::Ready(Ok(())) } else { self.poll_interim(cx) }
    }

    /// Reads what the client still sends, for a while, after our end was closed.
    ///
    /// Closing a socket with unread bytes resets it, and a reset can overtake the answer that explains it (RFC 9112
    /// section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_read && !self.state.watch.take_expiry(Wait::Discard) {
            let mut scratch = [MaybeUninit::uninit(); LINGER_BUFFER_BYTES];
            let mut scratch = ReadBuf::uninit(&mut scratch);
            // Beneath TLS: nobody wants to know what it says.
            let read = ready!(Pin::new(self.inner.socket()).poll_read(cx, &mut scratch));
            self.is_read = read.is_err() || scratch.filled().is_empty();
        }
        self.state.watch.stop(Wait::Discard);
        Poll::Ready(())
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let bytes = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..bytes]);
            self.ahead.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let bytes = buf.filled().len() - before;
        self.is_read |= bytes == 0 && buf.remaining() > 0;
        self.state.read(bytes as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun_interim(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written everything it had: here, and only here, a head of ours may stand.
        if self.state.interim.is_waiting() {
            ready!(self.poll_interim(cx))?;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.is_shut = true;
            if self.state.activity() == Activity::Tunnel || self.state.linger_ms == 0 {
                self.is_read = true;
            }
            self.state.watch.start(Wait::Discard, self.state.linger_ms);
        }
        self.poll_linger(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun_interim(cx))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

impl Transport {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

/// Calls the same method of what is inside.
macro_rules! inner {
    ($self:ident, $method:ident $(, $argument:expr)*) => {
        match $self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).$method($($argument),*),
            Self::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        inner!(self, poll_write, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_shutdown, cx)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, poll_write_vectored, cx, bufs)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.state.received((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.state.wrote(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.state.wrote(&polled);
        polled
    }
}
