//! Owns `traceparent`: whether one is valid, and how one is made (W3C Trace Context, version 00).

use http::HeaderValue;

const VERSION_00_LEN: usize = 55;

/// Whether a value is a valid `traceparent`.
///
/// Versions after 00 may be longer and are passed on; `ff` is forbidden, as are ids of zeros.
pub(super) fn is_valid(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let Some((head, rest)) = bytes.split_at_checked(VERSION_00_LEN) else { return false };
    let (version, trace_id, parent_id, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zeros = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
    let longer = rest.is_empty() || (version != b"00" && rest[0] == b'-');
    dashes
        && longer
        && version != b"ff"
        && [version, trace_id, parent_id, flags].into_iter().all(hex)
        && !zeros(trace_id)
        && !zeros(parent_id)
}

/// Makes a `traceparent` from 16 random bytes for the trace and 8 for the span.
pub(super) fn make(mut random: [u8; 24], sampled: bool) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    // Ids of zeros are forbidden; forcing one bit costs half a bit of randomness.
    random[15] |= 1;
    random[23] |= 1;
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    for (index, byte) in random.into_iter().enumerate() {
        let at = 3 + 2 * index + usize::from(index >= 16);
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
    }
    text[54] = HEX[usize::from(sampled)];
    HeaderValue::from_bytes(&text).expect("hex digits and dashes are a header value")
}
