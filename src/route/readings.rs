//! Owns the readings of a path that an upstream could take (rule H6); it never changes what is forwarded.
//!
//! A plain path has one reading. Any other is read in every way that software in the field is known to read paths, and
//! is served only if all of them lead to the same route. Not counted as readings, because ordinary paths would be
//! refused then: that `/a` and `/a/` might be one, and that case might not matter.

use super::Ambiguous;
use super::escape::escaped;
use super::template::stands_raw;

/// The bytes of all readings of one path: eight times the longest target, 64 readings of a path of 1 KiB.
const READING_BYTES_MAX: usize = 64 * 1024;
/// The most readings of one path.
const READINGS_MAX: usize = 256;
/// How often escapes may be nested (`%252e` is two); beyond is refused, no reader goes as deep.
const DECODINGS: usize = 3;

/// One thing that a reader may do to a path; `None` when there is nothing to do.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// What readers do, in the order in which they do it. Each may or may not be done; a decoding may be done repeatedly,
/// and what looks at the decoded text stands behind it as well as before it.
const STEPS: [Step; 16] = [
    cut_parameters,
    fold_overlong,
    decode_but_slash,
    decode,
    decode_but_slash,
    decode,
    decode_but_slash,
    decode,
    fold_overlong,
    turn_backslashes,
    cut_parameters,
    cut_suffix,
    merge_slashes,
    resolve_dots,
    trim_resolved,
    merge_slashes,
];

/// Whether a path has one reading only.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for (at, &byte) in path.iter().enumerate() {
        let special = match byte {
            b'%' | b';' | b'\\' | b'#' | b'?' | 0..0x20 | 0x7f => true,
            b'/' => before == b'/',
            b'.' => before == b'/' && dots_only(&path[at..]),
            _ => false,
        };
        if special {
            return false;
        }
        before = byte;
    }
    true
}

/// Finds the route of a path that is not plain.
///
/// # Errors
/// When two readings lead to different routes, or the path hides a NUL or a line end, or has too many readings.
pub(super) fn find_agreed(path: &[u8], mut find: impl FnMut(&[u8]) -> Option<u32>) -> Result<Option<u32>, Ambiguous> {
    let raw = decode_unwritable(path);
    if is_nested_too_deep(&raw) {
        return Err(Ambiguous);
    }
    let route = find(&raw);
    let mut bytes = raw.len();
    let mut readings = vec![raw];
    check_controls(path)?;
    for step in STEPS {
        for known in 0..readings.len() {
            let Some(reading) = step(&readings[known]).filter(|reading| !readings.contains(reading)) else {
                continue;
            };
            bytes += reading.len();
            check_controls(&reading)?;
            if bytes > READING_BYTES_MAX || readings.len() >= READINGS_MAX || find(&reading) != route {
                return Err(Ambiguous);
            }
            readings.push(reading);
        }
    }
    Ok(route)
}

/// Refuses what truncates a path or splits a head in a careless reader (rule H7).
fn check_controls(reading: &[u8]) -> Result<(), Ambiguous> {
    if reading.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) { Err(Ambiguous) } else { Ok(()) }
}

fn is_nested_too_deep(raw: &[u8]) -> bool {
    let mut text = raw.to_vec();
    for _ in 0..DECODINGS {
        match decode(&text) {
            Some(decoded) => text = decoded,
            None => return false,
        }
    }
    decode(&text).is_some()
}

/// Whether a segment is `.` or `..`, given the path from its first byte on.
fn dots_only(rest: &[u8]) -> bool {
    matches!(rest, [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

/// The reading of who decodes nothing: only escapes of bytes that a path cannot have in any other way are decoded,
/// which makes it comparable with templates.
fn decode_unwritable(path: &[u8]) -> Vec<u8> {
    let unwritable = |byte: u8| !stands_raw(byte) && !matches!(byte, b'%' | b'/' | b'?' | b'#' | b';' | b'\\');
    replace_escapes(path, |byte| unwritable(byte) && byte >= 0x20 && byte != 0x7f)
}

fn replace_escapes(text: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match escaped(rest).filter(|byte| wanted(*byte)) {
            Some(byte) => {
                decoded.push(byte);
                rest = &rest[3..];
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded
}

/// Decodes all escapes once, also the `%uXXXX` of old Windows servers where it stands for ASCII.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let decoded = replace_escapes(text, |_| true);
    let decoded = unescape_unicode(&decoded).unwrap_or(decoded);
    (decoded != text).then_some(decoded)
}

fn unescape_unicode(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.windows(2).position(|pair| matches!(pair, b"%u" | b"%U"))?;
    let mut decoded = text[..start].to_vec();
    let mut rest = &text[start..];
    while let Some((&byte, tail)) = rest.split_first() {
        match rest {
            [b'%', b'u' | b'U', b'0', b'0', high, low, after @ ..] => match escaped(&[b'%', *high, *low]) {
                Some(ascii @ 0..0x80) => {
                    decoded.push(ascii);
                    rest = after;
                    continue;
                }
                _ => decoded.push(byte),
            },
            _ => decoded.push(byte),
        }
        rest = tail;
    }
    Some(decoded)
}

/// Decodes all escapes once but `%2F`, as who splits the path before decoding its segments.
fn decode_but_slash(text: &[u8]) -> Option<Vec<u8>> {
    let decoded = replace_escapes(text, |byte| byte != b'/');
    (decoded != text).then_some(decoded)
}

/// Reads overlong UTF-8 as the ASCII that careless decoders make of it (`C0 AF` is a slash to them).
fn fold_overlong(text: &[u8]) -> Option<Vec<u8>> {
    let mut folded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let (ascii, length) = match rest {
            [lead @ (0xc0 | 0xc1), low @ 0x80..=0xbf, ..] => ((lead & 1) << 6 | low & 0x3f, 2),
            [0xe0, middle @ (0x80 | 0x81), low @ 0x80..=0xbf, ..] => ((middle & 1) << 6 | low & 0x3f, 3),
            [0xf0, 0x80, middle @ (0x80 | 0x81), low @ 0x80..=0xbf, ..] => ((middle & 1) << 6 | low & 0x3f, 4),
            _ => (byte, 1),
        };
        folded.push(ascii);
        rest = if length == 1 { tail } else { &rest[length..] };
    }
    (folded.len() != text.len()).then_some(folded)
}

/// Reads a backslash as a slash, as Windows servers and browsers do.
fn turn_backslashes(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'\\').then(|| text.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect())
}

/// Cuts `;name=value` off every segment, as servlet containers do.
fn cut_parameters(text: &[u8]) -> Option<Vec<u8>> {
    if !text.contains(&b';') {
        return None;
    }
    let mut inside = false;
    let kept = text.iter().copied().filter(|byte| {
        inside = *byte == b';' || (inside && *byte != b'/');
        !inside
    });
    Some(kept.collect())
}

/// Cuts off a query or fragment that only decoding has brought to light.
fn cut_suffix(text: &[u8]) -> Option<Vec<u8>> {
    text.iter().position(|byte| matches!(byte, b'?' | b'#')).map(|at| text[..at].to_vec())
}

fn merge_slashes(text: &[u8]) -> Option<Vec<u8>> {
    if !text.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    let mut merged = text.to_vec();
    merged.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    Some(merged)
}

/// Removes dot segments (RFC 3986 5.2.4).
fn resolve_dots(text: &[u8]) -> Option<Vec<u8>> {
    let segments = || text.strip_prefix(b"/").unwrap_or(text).split(|byte| *byte == b'/');
    if !segments().any(is_dots) {
        return None;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in segments() {
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    // A dot segment at the end leaves the slash before it.
    if segments().next_back().is_some_and(is_dots) {
        kept.push(b"");
    }
    let mut resolved = Vec::with_capacity(text.len());
    for segment in kept {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if resolved.is_empty() {
        resolved.push(b'/');
    }
    Some(resolved)
}

/// Resolves dot segments and leaves no slash behind one at the end, as path libraries do.
fn trim_resolved(text: &[u8]) -> Option<Vec<u8>> {
    let mut resolved = resolve_dots(text)?;
    if resolved.len() > 1 && resolved.ends_with(b"/") {
        resolved.pop();
        return Some(resolved);
    }
    None
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}
