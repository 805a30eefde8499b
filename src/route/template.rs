//! Owns path templates: reading them, and finding their parameters in a path.

use std::borrow::Cow;
use std::fmt;

use super::Params;
use super::escape::{decode, escaped};

/// The most segments of a template; it bounds how deep matching goes.
const SEGMENTS_MAX: usize = 64;
/// The most parameters of a template.
const PARAMETERS_MAX: usize = 16;

/// A parsed path template, such as `/orders/{id}` or `/static/{*rest}`.
///
/// A segment is a literal, a parameter `{name}` (one segment, not empty) or, last only, `{*name}` (everything that is
/// left, which may be nothing). `/static/{*rest}` stands for a whole subtree: it matches `/static/a/b`, `/static/` and
/// also `/static`, so that nobody migrates the members of a collection and forgets the collection itself. A route for
/// `/static` alone is more specific and takes it out again.
///
/// Literals are compared with the bytes of the path, case by case. `/orders` and `/orders/` are different. A literal
/// outside ASCII is written as such or percent-encoded; both match the percent-encoded form on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathTemplate {
    text: Box<str>,
    segments: Box<[Segment]>,
    parameters: Box<[Box<str>]>,
}

/// A segment of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// These bytes, percent escapes decoded; empty only behind a trailing slash.
    Literal(Box<[u8]>),
    /// Any one segment that is not empty.
    Parameter,
    /// All further segments.
    Rest,
}

/// Says why a path template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong and how to mend it.
    pub message: String,
    /// Byte offset of the fault in the template.
    pub offset: usize,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When it does not begin with `/`, a brace is not closed, a name repeats, `{*rest}` is not last, a literal is one
    /// that readers of paths disagree about (an empty or dot segment, an escaped slash, a semicolon), or it has more
    /// than 64 segments or 16 parameters.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(fault(0, "a path begins with `/`"));
        };
        let count = inner.split('/').count();
        if count > SEGMENTS_MAX {
            return Err(fault(0, format!("{count} segments; {SEGMENTS_MAX} are the most")));
        }
        let mut segments = Vec::with_capacity(count);
        let mut parameters: Vec<Box<str>> = Vec::new();
        let mut offset = 1;
        for (index, part) in inner.split('/').enumerate() {
            let is_last = index + 1 == count;
            let (segment, name) = parse_segment(part, is_last, offset)?;
            if let Some(name) = name {
                if parameters.iter().any(|known| **known == *name) {
                    return Err(fault(offset, format!("the parameter `{name}` stands twice; rename one")));
                }
                parameters.push(name.into());
            }
            segments.push(segment);
            offset += part.len() + 1;
        }
        if parameters.len() > PARAMETERS_MAX {
            return Err(fault(0, format!("{} parameters; {PARAMETERS_MAX} are the most", parameters.len())));
        }
        Ok(Self { text: text.into(), segments: segments.into(), parameters: parameters.into() })
    }

    /// The names of its parameters, in order.
    pub fn parameters(&self) -> &[Box<str>] {
        &self.parameters
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its parameters, to be read from a path that it matches.
    pub fn params(&self) -> Params<'_> {
        Params(self)
    }

    /// Whether a path has its literals at their places; a route's conditions and rivals are not looked at.
    pub fn fits(&self, path: &str) -> bool {
        let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
        for segment in &self.segments {
            let fits = match (segment, parts.next()) {
                (Segment::Rest, _) => return true,
                (Segment::Literal(literal), Some(part)) => {
                    decode(part).is_some_and(|part| part.as_bytes() == &**literal)
                }
                (Segment::Parameter, Some(part)) => !part.is_empty(),
                (_, None) => false,
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Reads a parameter from a path that this template matches.
    ///
    /// Matching keeps no places: most requests never ask, and finding the segment again costs one pass over the path.
    pub(super) fn value<'r>(&self, name: &str, path: &'r str) -> Option<Cow<'r, str>> {
        let wanted = self.parameters.iter().position(|known| **known == *name)?;
        let mut places = self.segments.iter().enumerate().filter(|(_, segment)| !segment.is_literal());
        let (place, segment) = places.nth(wanted)?;
        let inner = path.strip_prefix('/').unwrap_or(path);
        let raw = match segment {
            Segment::Rest => inner.splitn(place + 1, '/').nth(place).unwrap_or_default(),
            _ => inner.split('/').nth(place)?,
        };
        decode(raw)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

fn parse_segment(part: &str, is_last: bool, offset: usize) -> Result<(Segment, Option<&str>), TemplateError> {
    let Some(opened) = part.strip_prefix('{') else {
        return Ok((Segment::Literal(parse_literal(part, is_last, offset)?), None));
    };
    let Some(close) = opened.find('}') else {
        return Err(fault(offset, "the brace is not closed; a parameter is written `{name}`"));
    };
    if close + 1 != opened.len() {
        let at = offset + close + 2;
        return Err(fault(at, "a parameter is a whole segment; nothing may follow its `}` but `/`"));
    }
    let name = &opened[..close];
    let (segment, name) = match name.strip_prefix('*') {
        Some(_) if !is_last => return Err(fault(offset, format!("`{part}` takes all that is left; it stands last"))),
        Some(rest) => (Segment::Rest, rest),
        None => (Segment::Parameter, name),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(fault(offset, format!("`{part}` needs a name of letters, digits, `_` and `-`")));
    }
    Ok((segment, Some(name)))
}

/// Reads a literal, and refuses what no spelling on the wire could match unambiguously (rule H6).
fn parse_literal(part: &str, is_last: bool, offset: usize) -> Result<Box<[u8]>, TemplateError> {
    if part.is_empty() && !is_last {
        return Err(fault(offset, "an empty segment; write one `/`"));
    }
    if matches!(part, "." | "..") {
        return Err(fault(offset, "a dot segment; write the path that it leads to"));
    }
    let bytes = part.as_bytes();
    let mut literal = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&raw) = bytes.get(at) {
        let byte = escaped(&bytes[at..]);
        literal.push(checked(raw, byte).map_err(|message| fault(offset + at, message))?);
        at += if byte.is_some() { 3 } else { 1 };
    }
    Ok(literal.into())
}

/// The byte of a literal, given as it stands and as its escape decodes.
fn checked(raw: u8, escaped: Option<u8>) -> Result<u8, String> {
    match (raw, escaped) {
        (b'{' | b'}', _) => Err("a parameter is a whole segment, such as `/{name}/`".to_owned()),
        (b'?', _) => Err("a template has no query; write a `query:` condition".to_owned()),
        (b'%', None) => Err("`%` without two hexadecimal digits".to_owned()),
        (b'#' | b';' | b'\\', _) => {
            Err(format!("`{}` is read in different ways; no route can rely on it", raw as char))
        }
        (0..0x20 | 0x7f, _) => Err("a control character; no path has one".to_owned()),
        (_, None) => Ok(raw),
        // Where the byte could stand raw, the two spellings mean different routes to some readers.
        (_, Some(byte)) if stands_raw(byte) => Err(format!("write `{}` without escaping it", byte as char)),
        (_, Some(byte @ (b'%' | b'/' | b'?' | b'#' | b';' | b'\\' | 0..0x20 | 0x7f))) => {
            Err(format!("`%{byte:02X}` is read in different ways; no route can rely on it"))
        }
        (_, Some(byte)) => Ok(byte),
    }
}

/// Whether a path has this byte without an escape (RFC 3986 3.3), what separates paths left out.
pub(super) fn stands_raw(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

fn fault(offset: usize, message: impl Into<String>) -> TemplateError {
    TemplateError { message: message.into(), offset }
}
