//! Reads HTTP/1.1 messages off a byte stream as a plain and strict second reader: nothing of it is shared with the router.

use std::io::{self, Read};

/// A message as read: its head line, fields, body and trailers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// The first line without its end.
    pub(crate) line: String,
    /// Names as sent, values trimmed.
    pub(crate) fields: Vec<(String, String)>,
    /// Without chunk framing.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The head as it was on the wire, the empty line included.
    pub(crate) raw_head: Vec<u8>,
    /// Whether the body came to its end as its framing promised.
    pub(crate) complete: bool,
}

impl Message {
    /// The values of a field, joined by ` | `; names match in any case.
    pub(crate) fn field(&self, name: &str) -> String {
        self.values(name).join(" | ")
    }

    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let own = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line")
    }
}

/// What frames a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Sized(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    pub(crate) fn of_request(head: &Message) -> Self {
        Self::of(head, Self::None)
    }

    pub(crate) fn of_response(head: &Message, method: &str) -> Self {
        match head.status() {
            100..=199 | 204 | 304 => Self::None,
            _ if method == "HEAD" => Self::None,
            _ => Self::of(head, Self::UntilClose),
        }
    }

    fn of(head: &Message, otherwise: Self) -> Self {
        let codings = head.values("transfer-encoding");
        let lengths = head.values("content-length");
        assert!(codings.len() + lengths.len() <= 1, "more than one framing field: {head:?}");
        match (codings.first(), lengths.first()) {
            (Some(coding), _) => {
                assert_eq!(*coding, "chunked");
                Self::Chunked
            }
            (_, Some(length)) => Self::Sized(length.parse().expect("a content-length")),
            _ => otherwise,
        }
    }
}

/// A stream with what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    pub(crate) stream: R,
    pub(crate) buffer: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Reads once more; `false` at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }

    /// Takes bytes up to and including `end`; `None` if the stream ends before.
    pub(crate) fn take_until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(Some(self.buffer.drain(..at + end.len()).collect()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Takes so many bytes, or fewer if the stream ends before.
    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < bytes {
            if !self.fill()? {
                break;
            }
        }
        let end = bytes.min(self.buffer.len());
        Ok(self.buffer.drain(..end).collect())
    }

    /// Reads a head; `None` if the stream ends before one is whole.
    pub(crate) fn head(&mut self) -> io::Result<Option<Message>> {
        let Some(raw_head) = self.take_until(b"\r\n\r\n")? else { return Ok(None) };
        let text = String::from_utf8_lossy(&raw_head).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        Ok(Some(Message { line, fields: lines.map(field).collect(), raw_head, ..Message::default() }))
    }

    /// Reads a body into `message`; whether it came to its end is in `complete`.
    pub(crate) fn body(&mut self, message: &mut Message, framing: Framing) -> io::Result<()> {
        match framing {
            Framing::None => message.complete = true,
            Framing::Sized(bytes) => {
                message.body = self.take(bytes)?;
                message.complete = message.body.len() == bytes;
            }
            Framing::Chunked => message.complete = self.chunks(message)?,
            Framing::UntilClose => {
                while self.fill()? {}
                message.body = std::mem::take(&mut self.buffer);
                message.complete = true;
            }
        }
        Ok(())
    }

    /// Reads one chunk; the last one is empty. `None` if the stream ends before.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(line) = self.take_until(b"\r\n")? else { return Ok(None) };
        let line = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(line.trim_end(), 16).expect("a bare chunk size: extensions are not passed on");
        if size == 0 {
            return Ok(Some(Vec::new()));
        }
        let data = self.take(size + 2)?;
        Ok(data.strip_suffix(b"\r\n").filter(|data| data.len() == size).map(<[u8]>::to_vec))
    }

    fn chunks(&mut self, message: &mut Message) -> io::Result<bool> {
        loop {
            match self.chunk()? {
                None => return Ok(false),
                Some(data) if data.is_empty() => break,
                Some(data) => message.body.extend_from_slice(&data),
            }
        }
        loop {
            match self.take_until(b"\r\n")? {
                None => return Ok(false),
                Some(line) if line == b"\r\n" => return Ok(true),
                Some(line) => message.trailers.push(field(String::from_utf8_lossy(&line).trim_end())),
            }
        }
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
    assert!(!name.is_empty() && !name.contains([' ', '\t']), "a bad field name: {line:?}");
    (name.to_owned(), value.trim().to_owned())
}
