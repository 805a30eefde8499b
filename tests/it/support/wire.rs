//! A client that sends bytes as they are given and reads answers strictly, each read within a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::message::{Framing, Message, Reader};

/// One client connection.
pub(crate) struct Wire {
    reader: Reader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the router accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: Reader::new(stream) }
    }

    /// Sends bytes; a peer that has already closed is for the next read to find.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let sent = self.reader.stream.write_all(bytes.as_ref());
        if let Err(error) = sent {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
        self
    }

    /// Reads the next head, 1xx included.
    pub(crate) fn head(&mut self) -> Message {
        self.reader.head().expect("a head within the deadline").expect("a whole head before the end of the connection")
    }

    /// Reads the next answer that is not 1xx, whole or cut.
    pub(crate) fn answer_to(&mut self, method: &str) -> Message {
        loop {
            let mut message = self.head();
            if message.status() >= 200 || message.status() == 101 {
                let framing = Framing::of_response(&message, method);
                // A reset in the middle of a body is one way to say that it is cut.
                if let Err(error) = self.reader.body(&mut message, framing) {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                    message.complete = false;
                }
                return message;
            }
        }
    }

    /// Reads the next answer to anything but HEAD.
    pub(crate) fn answer(&mut self) -> Message {
        self.answer_to("GET")
    }

    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        self.reader.chunk().expect("a chunk within the deadline").expect("a whole chunk")
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.reader.take(bytes).expect("bytes within the deadline")
    }

    /// Reads to the end of the connection, which must come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.reader.fill() {
                Ok(true) => {}
                Ok(false) => return std::mem::take(&mut self.reader.buffer),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return std::mem::take(&mut self.reader.buffer);
                }
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }

    /// The router must close, and send nothing more.
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more bytes came: {:?}", String::from_utf8_lossy(&rest));
    }

    /// The router must close in order, without a reset that could overtake its answer.
    pub(crate) fn assert_closed_in_order(&mut self) {
        while self.reader.fill().expect("no reset") {}
        assert!(self.reader.buffer.is_empty());
    }

    /// Another request must be answered on this connection.
    pub(crate) fn assert_reusable(&mut self) {
        self.send("GET /again HTTP/1.1\r\nhost: a.example\r\n\r\n");
        assert_eq!(self.answer().status(), 200);
    }

    /// Nothing may arrive for a while: for what must not happen there is no event to wait for.
    pub(crate) fn assert_silent(&mut self, time: Duration) {
        assert!(self.reader.buffer.is_empty());
        self.reader.stream.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let error = self.reader.stream.read(&mut byte).expect_err("silence");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.reader.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.reader.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.reader.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The bare connection, to be held.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.reader.stream
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.reader.stream
    }
}
