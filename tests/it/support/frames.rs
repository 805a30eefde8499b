//! An HTTP/2 client that sends frames as they are given, well formed or not; nothing of it is shared with the router.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::message::Reader;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// The largest frame that a peer takes before it says otherwise.
const FRAME_BYTES_MAX: usize = 16 * 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as read.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The last stream that a GOAWAY says will be served.
    pub(crate) fn last_stream(&self) -> u32 {
        assert_eq!(self.kind, GOAWAY);
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The `:status` that a head begins with: an index of the static table, or digits, perhaps in Huffman's code.
    pub(crate) fn status(&self) -> u16 {
        assert_eq!(self.kind, HEADERS);
        let indexed = [200, 204, 206, 304, 400, 404, 500];
        // A change of the table's size may stand first.
        let block = &self.payload[self.payload.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
        match block[0] {
            index @ 0x88..=0x8e => indexed[usize::from(index - 0x88)],
            _ => digits(&block[1..]),
        }
    }
}

/// Reads a string of three digits.
fn digits(literal: &[u8]) -> u16 {
    let (huffman, length) = (literal[0] & 0x80 != 0, usize::from(literal[0] & 0x7f));
    let bytes = &literal[1..=length];
    if !huffman {
        return std::str::from_utf8(bytes).unwrap().parse().unwrap();
    }
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut take = |count: u32, start: u16| (0..count).fold(start, |code, _| code << 1 | bits.next().unwrap());
    // Of all codes only those of digits occur: 0 to 2 have five bits, 3 to 9 have six and begin at 011001.
    let mut digit = || match take(5, 0) {
        short @ 0..=2 => short,
        long => take(1, long) - 0b01_1001 + 3,
    };
    (0..3).fold(0, |number, _| number * 10 + digit())
}

/// What came back on a stream.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// 0 when there was none.
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether a second head came: trailers.
    pub(crate) trailers: bool,
    /// The error code, when it was reset.
    pub(crate) reset: Option<u32>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client connection.
pub(crate) struct Frames {
    reader: Reader<TcpStream>,
    /// Whether pings are answered, as GOAWAY in two steps wants it.
    answers_pings: bool,
}

impl Frames {
    /// Connects and says what a client says first, with these settings.
    pub(crate) fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the router accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { reader: Reader::new(stream), answers_pings: false };
        let mut payload = Vec::new();
        // Without a dynamic table a head can be read by itself.
        for (name, value) in [&[(HEADER_TABLE_SIZE, 0)], settings].concat() {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        client.write(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat());
        client
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// Answers the router's pings from now on.
    pub(crate) fn acknowledge_pings(&mut self) {
        self.answers_pings = true;
    }

    /// Sends bytes; `false` when the router has closed.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        match self.reader.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Interrupted), "{error}");
                false
            }
        }
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.write(&frame(kind, flags, stream, payload))
    }

    /// Sends a head, in as many frames as it needs.
    pub(crate) fn head(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) -> bool {
        let block = block(fields);
        let count = block.chunks(FRAME_BYTES_MAX).len();
        let frames = block.chunks(FRAME_BYTES_MAX).enumerate().map(|(at, part)| {
            let (kind, flags) = if at == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
            frame(kind, if at + 1 == count { flags | END_HEADERS } else { flags }, stream, part)
        });
        self.write(&frames.collect::<Vec<_>>().concat())
    }

    /// Sends a request without a body.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> bool {
        self.head(stream, &request("GET", path), END_STREAM)
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) -> bool {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    pub(crate) fn open_window(&mut self, stream: u32, bytes: u32) -> bool {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
    }

    /// Reads the next frame; `None` at the end of the connection.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let head = self.take(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let frame = Frame { kind: head[3], flags: head[4], stream, payload: self.take(length)? };
        if self.answers_pings && frame.kind == PING && frame.flags & ACK == 0 {
            self.send(PING, ACK, 0, &frame.payload);
        }
        Some(frame)
    }

    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        match self.reader.take(bytes) {
            Ok(taken) => Some(taken).filter(|taken| taken.len() == bytes),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no frame comes: {error}"),
        }
    }

    /// Reads up to a frame that fits, which must come.
    pub(crate) fn until(&mut self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.read().unwrap_or_else(|| panic!("the connection ends before {what}"));
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// The code of the GOAWAY that must come, after which the connection must end.
    pub(crate) fn goodbye(&mut self) -> u32 {
        let code = self.until("GOAWAY", |frame| frame.kind == GOAWAY).code();
        while self.read().is_some() {}
        code
    }

    /// Reads a stream's answer to its end, or to its reset.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        loop {
            let frame = self.until("the answer's end", |frame| frame.stream == stream);
            match frame.kind {
                HEADERS if answer.status < 200 => answer.status = frame.status(),
                HEADERS => answer.trailers = true,
                DATA => answer.body.extend(&frame.payload),
                RST_STREAM => answer.reset = Some(frame.code()),
                _ => {}
            }
            if frame.ends_stream() || answer.reset.is_some() {
                return answer;
            }
        }
    }

    /// Another request must be answered on this connection.
    pub(crate) fn assert_serves(&mut self, stream: u32) {
        self.get(stream, "/again");
        assert_eq!(self.answer(stream).status, 200);
    }

    /// Sends while the router may stop reading: what it does not take within a second is not sent.
    pub(crate) fn with_write_timeout(&mut self, send: impl FnOnce(&mut Self)) {
        self.reader.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        send(self);
        self.reader.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    /// Reads the next frame if it comes within half a second: for what must not happen there is no event to wait for.
    pub(crate) fn read_soon(&mut self) -> Option<Frame> {
        if self.reader.buffer.is_empty() {
            self.reader.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let filled = self.reader.fill();
            self.reader.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            filled.ok().filter(|more| *more)?;
        }
        self.read()
    }

    /// The stream must be reset, or the connection must end.
    pub(crate) fn assert_closed_or_reset(&mut self, stream: u32) {
        while let Some(frame) = self.read() {
            assert!(!matches!(frame.kind, HEADERS | DATA), "{frame:?}");
            if frame.kind == RST_STREAM && frame.stream == stream {
                return;
            }
        }
    }

    /// Reads what is there and goes on reading to the end, which must come.
    pub(crate) fn assert_closed(&mut self) {
        while self.read().is_some() {}
        let mut byte = [0];
        assert!(matches!(self.reader.stream.read(&mut byte), Ok(0) | Err(_)));
    }
}

/// The fields that every request begins with.
pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":authority", "a.example"), (":path", path)]
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&*head, payload].concat()
}

/// A header block of literals that are not indexed (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name.as_bytes());
        literal(&mut block, value.as_bytes());
    }
    block
}

/// A string without Huffman's code.
pub(crate) fn literal(block: &mut Vec<u8>, bytes: &[u8]) {
    integer(block, 0, 7, bytes.len());
    block.extend(bytes);
}

/// An integer behind `pattern` in the bits that `prefix` leaves (RFC 7541 section 5.1).
pub(crate) fn integer(block: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        block.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    block.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}
