//! Owns percent-decoding for values that rules read; the path that is forwarded never passes through here.

use std::borrow::Cow;

/// The byte that a percent escape at the start of `bytes` stands for.
pub(super) fn escaped(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// The value of a hexadecimal digit of either case.
pub(super) fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Decodes percent escapes once; a malformed one stays as it is, and `None` means that the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, false)
}

/// Decodes a part of a query: percent escapes, and `+` for a space as HTML forms write it.
pub(super) fn decode_query(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, true)
}

fn decode_with(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let special = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let Some(first) = text.as_bytes().iter().position(special) else {
        return Some(Cow::Borrowed(text));
    };
    let (head, mut rest) = text.as_bytes().split_at(first);
    let mut decoded = head.to_vec();
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(value) = escaped(rest) {
            decoded.push(value);
            rest = &rest[3..];
            continue;
        }
        decoded.push(if plus_is_space && byte == b'+' { b' ' } else { byte });
        rest = tail;
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}
