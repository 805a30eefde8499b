//! The PROXY protocol: a header is read the same however it arrives, and what is written is read again.

use banyan::proxy_protocol::{Announced, HEADER_BYTES_MAX, Parsed, Version, parse, write};

/// The bytes are the beginning of a connection.
pub(super) fn header(data: &[u8]) {
    let parsed = parse(data);
    let Ok(Parsed::Whole { announced, bytes }) = parsed else {
        // What is wrong stays wrong, and what may become a header has bounds.
        if parsed.is_err() {
            assert!(parse(&[data, &[0; 64]].concat()).is_err());
        }
        assert!(parsed != Ok(Parsed::Partial) || data.len() < HEADER_BYTES_MAX, "{} bytes", data.len());
        return;
    };
    assert!(bytes <= data.len() && bytes <= HEADER_BYTES_MAX);
    assert_eq!(parse(&data[..bytes]), parsed, "what follows is no part of it");
    for cut in 0..bytes {
        assert_eq!(parse(&data[..cut]), Ok(Parsed::Partial), "cut at {cut}");
    }
    if let Announced::Proxied { source, destination } = announced {
        for version in [Version::V1, Version::V2] {
            let written = write(version, source, destination);
            let again = parse(&written);
            let Ok(Parsed::Whole { announced: Announced::Proxied { source: s, destination: d }, bytes }) = again else {
                panic!("{version:?}: {again:?}");
            };
            // Mixed families are written as IPv6.
            assert_eq!(bytes, written.len());
            assert_eq!((s.ip().to_canonical(), s.port()), (source.ip().to_canonical(), source.port()));
            assert_eq!((d.ip().to_canonical(), d.port()), (destination.ip().to_canonical(), destination.port()));
        }
    }
}
