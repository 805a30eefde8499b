//! Owns the mark on copies, `Banyan-Mirror`: which write it is, which routers copied it, signed so that no client can make one.
//!
//! A copy that comes back to a router which has copied it is not copied again (promise G7).

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue};

use super::record::CopyId;
use crate::head::names::BANYAN_MIRROR;

/// Routers that a write may pass as a copy; one more is not copied.
pub const HOPS_MAX: usize = 4;
/// Bytes of a mark beside its hops and names.
const MARK_BYTES: usize = 128;
/// Bytes of the key.
pub const KEY_BYTES: usize = 32;

/// Makes and checks marks.
#[derive(Debug)]
pub struct Marker {
    key: hmac::Key,
    /// This router's name among the hops.
    name: Box<str>,
}

/// What a request's mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked<'r> {
    /// It has none that counts: it is no copy.
    Original,
    /// It is a copy that may be copied on; the hops so far, separated by spaces.
    Copy(&'r str),
    /// It is a copy that must not be copied again.
    Loop,
}

impl Marker {
    /// A marker of this router; routers that copy to each other share the key and differ in their names.
    pub fn new(key: &[u8; KEY_BYTES], name: &str) -> Self {
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ';' | ',');
        let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), name: name.into() }
    }

    /// Reads a request's mark; one that is not signed with our key counts for nothing.
    pub fn read<'r>(&self, headers: &'r HeaderMap) -> Marked<'r> {
        let Some(hops) = headers.get(BANYAN_MIRROR).and_then(|value| self.verify(value.to_str().ok()?)) else {
            return Marked::Original;
        };
        let loops = hops.split(' ').any(|hop| *hop == *self.name) || hops.split(' ').count() >= HOPS_MAX;
        if loops { Marked::Loop } else { Marked::Copy(hops) }
    }

    /// The mark of a copy; `hops` are those before this router.
    pub fn mark(&self, id: CopyId, hops: &str) -> HeaderValue {
        let space = if hops.is_empty() { "" } else { " " };
        let mut mark = String::with_capacity(MARK_BYTES + hops.len() + self.name.len());
        mark.push_str("id=\"");
        push_hex(&mut mark, &id.0.to_be_bytes());
        for part in ["\", hops=\"", hops, space, &*self.name, "\""] {
            mark.push_str(part);
        }
        let signature = hmac::sign(&self.key, mark.as_bytes());
        mark.push_str(", sig=\"");
        push_hex(&mut mark, signature.as_ref());
        mark.push('"');
        HeaderValue::try_from(mark).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn verify<'r>(&self, mark: &'r str) -> Option<&'r str> {
        let (signed, signature) = mark.strip_suffix('"')?.rsplit_once(", sig=\"")?;
        hmac::verify(&self.key, signed.as_bytes(), &unhex(signature)?).ok()?;
        signed.strip_suffix('"')?.rsplit_once("hops=\"").map(|(_, hops)| hops)
    }
}

/// Writes bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &HeaderValue) -> HeaderMap {
        HeaderMap::from_iter([(BANYAN_MIRROR, value.clone())])
    }

    #[test]
    fn a_copy_is_known_and_comes_back_as_a_loop() {
        let (a, b) = (Marker::new(&[7; KEY_BYTES], "a"), Marker::new(&[7; KEY_BYTES], "b"));
        let mark = a.mark(CopyId(1), "");
        assert_eq!(b.read(&with(&mark)), Marked::Copy("a"));
        assert_eq!(a.read(&with(&mark)), Marked::Loop);
        assert_eq!(a.read(&with(&b.mark(CopyId(1), "a"))), Marked::Loop);
        assert_eq!(a.read(&with(&b.mark(CopyId(1), "c d e"))), Marked::Loop);
    }

    #[test]
    fn a_mark_of_another_key_is_none() {
        let (ours, theirs) = (Marker::new(&[7; KEY_BYTES], "a"), Marker::new(&[8; KEY_BYTES], "b"));
        assert_eq!(ours.read(&with(&theirs.mark(CopyId(1), ""))), Marked::Original);
        assert_eq!(ours.read(&HeaderMap::new()), Marked::Original);
        for forged in ["", "id=\"1\", hops=\"x\", sig=\"\"", "sig=\"00\"", "id=\"1\", hops=\"x\", sig=\"zz\""] {
            assert_eq!(ours.read(&with(&HeaderValue::from_static(forged))), Marked::Original, "{forged}");
        }
    }
}
