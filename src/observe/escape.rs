//! Owns making bytes that a client sent safe to show on one line of a log.

/// The most bytes of one field that are shown; enough for any honest path (rule J7).
pub(super) const FIELD_BYTES_MAX: usize = 8 * 1024;
/// Stands behind a value that was cut.
const CUT: &[u8] = b"...(cut)";

/// Appends a value that stands in double quotes, in JSON or in text.
///
/// Control characters, line separators and marks that reorder text become `\uXXXX`, and bytes that are not UTF-8
/// become a visible `\xXX`, so that no value can end its field or its line. Longer values are cut.
pub(super) fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    let shown = &value[..cut_at(value)];
    if shown.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(shown);
    } else {
        push_chunks(out, shown, true);
    }
    if shown.len() < value.len() {
        out.extend_from_slice(CUT);
    }
}

/// Appends a line that is already formatted, with whatever could break or fake a line escaped.
pub(super) fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    push_chunks(out, line, false);
}

/// Whether a byte is printable ASCII that no quoting changes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Where to cut: at most [`FIELD_BYTES_MAX`], and not inside a character.
fn cut_at(value: &[u8]) -> usize {
    if value.len() <= FIELD_BYTES_MAX {
        return value.len();
    }
    let is_inside = |at: &usize| value[*at] & 0xc0 == 0x80;
    (FIELD_BYTES_MAX - 3..=FIELD_BYTES_MAX).rev().find(|at| !is_inside(at)).unwrap_or(FIELD_BYTES_MAX)
}

fn push_chunks(out: &mut Vec<u8>, value: &[u8], quoted: bool) {
    for chunk in value.utf8_chunks() {
        for letter in chunk.valid().chars() {
            push_char(out, letter, quoted);
        }
        for byte in chunk.invalid() {
            // The backslash is JSON's escaped one, so that the reader of the line sees `\xff`.
            out.extend_from_slice(if quoted { b"\\\\x" } else { b"\\x" });
            push_hex(out, u64::from(*byte), 2);
        }
    }
}

fn push_char(out: &mut Vec<u8>, letter: char, quoted: bool) {
    match letter {
        '"' | '\\' if quoted => out.extend_from_slice(&[b'\\', letter as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        _ if is_deceptive(letter) => {
            out.extend_from_slice(b"\\u");
            push_hex(out, u64::from(u32::from(letter)), 4);
        }
        _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Controls, line and paragraph separators, and the marks that change the direction of text or cannot be seen.
fn is_deceptive(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Appends lower-case hex digits, at most 16.
pub(super) fn push_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        let nibble = (value >> (4 * digit)) & 0xf;
        out.push(b"0123456789abcdef"[nibble as usize]);
    }
}

/// Appends a number in decimal, with leading zeros up to `width`.
pub(super) fn push_decimal(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while value > 0 {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let first = first.min(digits.len() - width.clamp(1, 20));
    out.extend_from_slice(&digits[first..]);
}
