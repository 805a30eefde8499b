//! Owns the handshake of WebSockets that the router makes itself, for a client that came by extended CONNECT (RFC 8441).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::HeaderValue;

/// What RFC 6455 section 1.3 appends to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A `Sec-WebSocket-Key` of 16 random bytes.
pub(super) fn key(random: &[u8; 16]) -> HeaderValue {
    encode(random)
}

/// The `Sec-WebSocket-Accept` that answers a key.
pub fn accept(key: &HeaderValue) -> HeaderValue {
    // The protocol asks for SHA-1; it proves that the other side speaks WebSocket, and protects nothing.
    encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat()).as_ref())
}

fn encode(bytes: &[u8]) -> HeaderValue {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |place: usize| BASE64[(bits >> (18 - 6 * place)) as usize & 63];
        text.extend((0..=group.len()).map(letter));
        text.resize(text.len() + 3 - group.len(), b'=');
    }
    HeaderValue::from_bytes(&text).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455() {
        assert_eq!(key(b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
