//! Owns the chunked coding (RFC 9112 section 7.1), in both directions.

use bytes::{Buf as _, Bytes};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Malformed, request};

/// Bytes of chunk extensions and padding in a whole body (rule F9).
const EXTENSION_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of all trailer fields.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// The most trailer fields.
const TRAILER_FIELDS_MAX: usize = 100;
/// Digits of a chunk size: what fits 64 bits, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;

/// Ends a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Reads a chunked body as its bytes arrive.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    extension_bytes: u32,
    trailers: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A chunk's size, with so many digits read.
    Size { size: u64, digits: u8 },
    /// Padding behind the size: only an extension or the end of the line may follow.
    Padding { size: u64 },
    /// An extension, which is read and dropped.
    Extension { size: u64 },
    /// The LF of a size line.
    SizeLf { size: u64 },
    /// So many more bytes of data.
    Data { left: u64 },
    /// The CR behind the data.
    DataCr,
    /// The LF behind the data.
    DataLf,
    /// The trailer section, up to its blank line.
    Trailers,
    /// Nothing: the body is over.
    Over,
}

/// A part of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Some data; a chunk may come in several parts.
    Data(Bytes),
    /// The end with trailer fields.
    Trailers(HeaderMap),
    /// The end without.
    End,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extension_bytes: 0, trailers: Vec::new() }
    }
}

impl ChunkDecoder {
    /// Takes the next part off `received`; `None` when all is used and more is needed.
    ///
    /// # Errors
    /// When the bytes are not chunks; the body must not be read further.
    pub fn decode(&mut self, received: &mut Bytes) -> Result<Option<Chunk>, Malformed> {
        while !received.is_empty() {
            match self.state {
                State::Data { left } => {
                    let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(received.len());
                    let left = left - bytes as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    return Ok(Some(Chunk::Data(received.split_to(bytes))));
                }
                State::Trailers => {
                    if let Some(end) = self.trailer_section(received)? {
                        return Ok(Some(end));
                    }
                }
                State::Over => return Ok(Some(Chunk::End)),
                state => {
                    let byte = received[0];
                    received.advance(1);
                    self.state = self.line_byte(state, byte)?;
                }
            }
        }
        Ok(None)
    }

    /// Whether the end has been read.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// One byte of a line between data.
    fn line_byte(&mut self, state: State, byte: u8) -> Result<State, Malformed> {
        Ok(match (state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Malformed("a chunk size that is too long"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Malformed("a chunk without a size")),
            (State::Size { size, .. } | State::Padding { size } | State::Extension { size }, b'\r') => {
                State::SizeLf { size }
            }
            (State::Size { size, .. } | State::Padding { size }, b' ' | b'\t') => {
                self.skip()?;
                State::Padding { size }
            }
            (State::Size { size, .. } | State::Padding { size }, b';') => State::Extension { size },
            (State::Extension { size }, _) if byte != b'\n' => {
                self.skip()?;
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailers,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            _ => return Err(Malformed("a chunk line")),
        })
    }

    /// Counts a byte that is dropped.
    fn skip(&mut self) -> Result<(), Malformed> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX { Err(Malformed("too long extensions")) } else { Ok(()) }
    }

    /// Gathers trailer lines up to the blank one.
    fn trailer_section(&mut self, received: &mut Bytes) -> Result<Option<Chunk>, Malformed> {
        while !received.is_empty() {
            let byte = received[0];
            received.advance(1);
            let after_cr = self.trailers.last() == Some(&b'\r');
            if after_cr != (byte == b'\n') {
                return Err(Malformed("a line end in trailers"));
            }
            self.trailers.push(byte);
            if self.trailers.len() > TRAILER_BYTES_MAX {
                return Err(Malformed("too long trailers"));
            }
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::Over;
                let fields = parse_trailers(&std::mem::take(&mut self.trailers))?;
                return Ok(Some(if fields.is_empty() { Chunk::End } else { Chunk::Trailers(fields) }));
            }
        }
        Ok(None)
    }
}

fn parse_trailers(section: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut fields) else {
        return Err(Malformed("trailers"));
    };
    let mut trailers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed("a trailer name"))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Malformed("a trailer value"))?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

/// Appends the line that begins a chunk of so many bytes, of which there must be some: none would end the body.
pub fn write_size(bytes: usize, out: &mut Vec<u8>) {
    debug_assert!(bytes > 0);
    let digits = (usize::BITS - bytes.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(bytes >> (digit * 4)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a body with trailer fields.
pub fn write_trailers(trailers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        request::write_field(name, value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data, trailers, what is left.
    type Decoded = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Decodes a body that arrives in parts of so many bytes.
    fn decode(text: &[u8], part: usize) -> Result<Decoded, Malformed> {
        let (mut decoder, mut data, mut rest) = (ChunkDecoder::default(), Vec::new(), Bytes::from(text.to_vec()));
        while !rest.is_empty() {
            let mut received = rest.split_to(part.min(rest.len()));
            while let Some(chunk) = decoder.decode(&mut received)? {
                match chunk {
                    Chunk::Data(bytes) => data.extend_from_slice(&bytes),
                    Chunk::Trailers(fields) => return Ok((data, Some(fields), [received, rest].concat())),
                    Chunk::End => return Ok((data, None, [received, rest].concat())),
                }
            }
        }
        assert!(!decoder.is_over());
        Err(Malformed("cut"))
    }

    #[test]
    fn chunks_are_read_however_they_arrive() {
        let text = b"5\r\nhello\r\n06 ;x=\"y\"\r\n world\r\n0\r\nA: 1\r\nb: 2\r\n\r\nrest";
        for part in 1..=text.len() {
            let (data, trailers, rest) = decode(text, part).unwrap();
            assert_eq!((&data[..], &rest[..]), (&b"hello world"[..], &b"rest"[..]), "parts of {part}");
            assert_eq!(trailers.unwrap().len(), 2);
        }
        assert_eq!(decode(b"0\r\n\r\n", 1), Ok((Vec::new(), None, Vec::new())));
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for text in [
            "\r\n",
            "x\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "11111111111111111\r\n",
            "0\r\na: 1\n\r\n",
            "0\r\na: 1\r\n b\r\n\r\n",
            "0\r\na : 1\r\n\r\n",
            "0\r\na\r\n\r\n",
            "0\r\n\n",
        ] {
            for part in [1, text.len()] {
                let error = decode(text.as_bytes(), part).unwrap_err();
                assert_ne!(error, Malformed("cut"), "{text:?}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_have_bounds() {
        let extension = format!("1;{}\r\na\r\n", "x".repeat(10_000)).repeat(2);
        assert!(decode(extension.as_bytes(), 4_096).is_err());
        let trailers = format!("0\r\na: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX));
        assert!(decode(trailers.as_bytes(), 4_096).is_err());
        let many = format!("0\r\n{}\r\n", "a: 1\r\n".repeat(TRAILER_FIELDS_MAX + 1));
        assert!(decode(many.as_bytes(), 4_096).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for bytes in [1, 9, 15, 16, 255, 256, 4_096, 1_000_000] {
            let (mut text, data) = (Vec::new(), vec![b'x'; bytes]);
            write_size(bytes, &mut text);
            text.extend_from_slice(&data);
            text.extend_from_slice(b"\r\n");
            let mut fields = HeaderMap::new();
            fields.insert("x-sum", HeaderValue::from_static("1"));
            write_trailers(&fields, &mut text);
            assert_eq!(decode(&text, 1_000), Ok((data, Some(fields), Vec::new())));
        }
    }
}
