//! Owns the PROXY protocol, versions 1 and 2 (haproxy's `proxy-protocol.txt`): reading and writing its header, as bytes.
//!
//! It never reads a connection, and it does not know who may be believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, with its end (section 2.1 of the specification).
const V1_BYTES_MAX: usize = 107;
/// What version 2 begins with (section 2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;
/// The most bytes after those: addresses, and what a balancer adds, such as a client certificate's subject.
const V2_REST_BYTES_MAX: usize = 4_096;
/// The longest header that is read, in bytes.
pub const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_REST_BYTES_MAX;
/// The kind of field that holds a checksum of the whole header.
const TLV_CRC32C: u8 = 0x03;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The connection stands for another one, from `source` to `destination`.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The sender speaks for itself, or for somebody without an address.
    Local,
}

/// How far reading a header came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// All bytes belong to a header, and more are to come.
    Partial,
    /// The first `bytes` are a header.
    Whole {
        /// What it says.
        announced: Announced,
        /// How long it is.
        bytes: usize,
    },
}

/// Says why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They begin otherwise.
    #[error("no PROXY protocol header")]
    Missing,
    /// They begin as one and then break the rules.
    #[error("a malformed PROXY protocol header")]
    Malformed,
    /// It is longer than any real one.
    #[error("a PROXY protocol header of more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// Its checksum is another one.
    #[error("a PROXY protocol header with a wrong checksum")]
    Checksum,
}

/// Names a version to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Reads a header from the beginning of a connection; what follows it is left alone.
///
/// # Errors
/// As soon as the bytes cannot become a header any more.
pub fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let begins = |mark: &[u8]| {
        let common = bytes.len().min(mark.len());
        bytes[..common] == mark[..common]
    };
    if begins(b"PROXY ") {
        parse_v1(bytes)
    } else if begins(&V2_SIGNATURE) {
        parse_v2(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let Some(end) = bytes.iter().take(V1_BYTES_MAX).position(|byte| *byte == b'\n') else {
        let room = bytes.len() < V1_BYTES_MAX;
        return if room { Ok(Parsed::Partial) } else { Err(HeaderError::Malformed) };
    };
    let line = bytes[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let announced = line.filter(|line| !line.contains('\r')).and_then(read_line).ok_or(HeaderError::Malformed)?;
    Ok(Parsed::Whole { announced, bytes: end + 1 })
}

fn read_line(line: &str) -> Option<Announced> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Announced::Local);
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(Into::into),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(Into::into),
            _ => None,
        }
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    let (source, destination) = (SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port));
    words.next().is_none().then_some(Announced::Proxied { source, destination })
}

/// Digits alone, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let strict = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| strict)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let Some((fixed, _)) = bytes.split_first_chunk::<V2_FIXED_BYTES>() else {
        return Ok(Parsed::Partial);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_REST_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Malformed),
    };
    let whole = V2_FIXED_BYTES + length;
    let Some(header) = bytes.get(..whole) else {
        return Ok(Parsed::Partial);
    };
    // A sender that speaks for itself may write anything there.
    let announced = if is_local { Announced::Local } else { read_addresses(family, header)? };
    Ok(Parsed::Whole { announced, bytes: whole })
}

fn read_addresses(family: u8, header: &[u8]) -> Result<Announced, HeaderError> {
    let rest = &header[V2_FIXED_BYTES..];
    let (announced, address_bytes) = match family {
        0x00 => (Announced::Local, 0),
        0x11 => (pair::<4>(rest).ok_or(HeaderError::Malformed)?, 12),
        0x21 => (pair::<16>(rest).ok_or(HeaderError::Malformed)?, 36),
        // Stream sockets of UNIX: two paths of 108 bytes, which say nothing about a client.
        0x31 => (Announced::Local, 216),
        _ => return Err(HeaderError::Malformed),
    };
    check_fields(header, V2_FIXED_BYTES + address_bytes)?;
    Ok(announced)
}

/// Two addresses, then their two ports.
fn pair<const N: usize>(rest: &[u8]) -> Option<Announced>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = rest.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    Some(Announced::Proxied {
        source: SocketAddr::new((*source).into(), u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes(*destination_port)),
    })
}

/// Checks that what follows the addresses is whole fields, and the checksum if there is one.
fn check_fields(header: &[u8], start: usize) -> Result<(), HeaderError> {
    let mut at = start;
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..at + 3) else { return Err(HeaderError::Malformed) };
        let value_at = at + 3;
        let end = value_at + usize::from(u16::from_be_bytes([*high, *low]));
        let value = header.get(value_at..end).ok_or(HeaderError::Malformed)?;
        if *kind == TLV_CRC32C {
            let written = <[u8; 4]>::try_from(value).map_err(|_| HeaderError::Malformed)?;
            // The sum was taken with zeros in its own place.
            let own = value_at..end;
            let bytes = header.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 0 } else { *byte });
            if crc32c(bytes) != u32::from_be_bytes(written) {
                return Err(HeaderError::Checksum);
            }
        }
        at = end;
    }
    // Addresses that the length has no room for.
    if at == header.len() { Ok(()) } else { Err(HeaderError::Malformed) }
}

/// CRC-32C (RFC 9260 appendix A), bit by bit: a few hundred bytes once a connection need no table.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
    !bytes.fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(byte), step))
}

/// Writes the header of a connection that stands for one from `source` to `destination`.
///
/// Addresses of different families are both written as IPv6.
pub fn write(version: Version, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (source, destination) = same_family(source, destination);
    match version {
        Version::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
        }
        Version::V2 => {
            let mut header = V2_SIGNATURE.to_vec();
            let (family, length) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
            header.extend([0x21, family, 0, length]);
            for address in [source.ip(), destination.ip()] {
                match address {
                    IpAddr::V4(v4) => header.extend(v4.octets()),
                    IpAddr::V6(v6) => header.extend(v6.octets()),
                }
            }
            header.extend(source.port().to_be_bytes());
            header.extend(destination.port().to_be_bytes());
            header
        }
    }
}

fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() { (source, destination) } else { (wide(source), wide(destination)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Announced, HeaderError> {
        match parse(bytes)? {
            Parsed::Whole { announced, bytes: length } => {
                assert_eq!(length, bytes.len());
                Ok(announced)
            }
            Parsed::Partial => panic!("a whole header was taken for a part of one"),
        }
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }

    #[test]
    fn lines_are_read_strictly() {
        let announced = whole(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n").unwrap();
        let (source, destination) = ("192.0.2.1:56324".parse().unwrap(), "198.51.100.2:443".parse().unwrap());
        assert_eq!(announced, Announced::Proxied { source, destination });
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Ok(Announced::Local));
        assert_eq!(whole(b"PROXY UNKNOWN ffff:: ::1 1 2\r\n"), Ok(Announced::Local));
        for bad in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 ::1 1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY TCP4 192.0.2.1\r198.51.100.2 1 443\r\n",
            "PROXY UNKNOWN\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(HeaderError::Malformed), "{bad:?}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(HeaderError::Missing));
        assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat()), Err(HeaderError::Malformed));
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

    #[test]
    fn binary_headers_are_read_strictly() {
        let (source, destination) = ("192.0.2.1:56324".parse().unwrap(), "198.51.100.2:443".parse().unwrap());
        let proxied = Announced::Proxied { source, destination };
        assert_eq!(whole(&v2(0x21, 0x11, &V4)), Ok(proxied));
        assert_eq!(whole(&v2(0x21, 0x11, &[&V4[..], &[0x04, 0, 2, 9, 9]].concat())), Ok(proxied));
        assert_eq!(whole(&v2(0x20, 0x11, &V4)), Ok(Announced::Local));
        assert_eq!(whole(&v2(0x20, 0x00, b"anything")), Ok(Announced::Local));
        assert_eq!(whole(&v2(0x21, 0x00, &[])), Ok(Announced::Local));
        assert_eq!(whole(&v2(0x21, 0x31, &[0; 216])), Ok(Announced::Local));
        for bad in [
            v2(0x11, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x12, &V4),
            v2(0x21, 0x41, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &V4),
            v2(0x21, 0x31, &V4),
            v2(0x21, 0x11, &[&V4[..], &[0x04, 0]].concat()),
            v2(0x21, 0x11, &[&V4[..], &[0x04, 0, 9, 1]].concat()),
            v2(0x21, 0x11, &[&V4[..], &[TLV_CRC32C, 0, 1, 1]].concat()),
        ] {
            assert_eq!(parse(&bad), Err(HeaderError::Malformed), "{bad:02x?}");
        }
        assert_eq!(parse(&v2(0x20, 0, &[0; V2_REST_BYTES_MAX + 1])), Err(HeaderError::TooLong));
    }

    #[test]
    fn a_checksum_that_is_there_must_be_right() {
        let mut header = v2(0x21, 0x11, &[&V4[..], &[TLV_CRC32C, 0, 4, 0, 0, 0, 0]].concat());
        let sum = crc32c(header.iter().copied());
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum.to_be_bytes());
        assert!(matches!(whole(&header), Ok(Announced::Proxied { .. })));
        header[at] ^= 1;
        assert_eq!(parse(&header), Err(HeaderError::Checksum));
    }
}
