//! Owns the deterministic CBOR of bucketing values (RFC 8949 section 4.2.1), the hash input of generation 3.

use super::scratch::Scratch;
use super::value::Value;

/// The longest head of an item, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 9;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// 2^64: whole floats below it are written as integers, so that `1` and `1.0` are the same value.
const UNSIGNED_END: f64 = 18_446_744_073_709_551_616.0;
/// -2^63: the other engines write whole floats below it as floats.
const NEGATIVE_MIN: f64 = -9_223_372_036_854_775_808.0;

/// Writes a value; `None` when it holds a number that JSON cannot have.
pub(super) fn write_value(value: &Value<'_>, out: &mut Scratch) -> Option<()> {
    match value {
        Value::Null => out.push(&[NULL]),
        Value::Bool(value) => out.push(&[if *value { TRUE } else { FALSE }]),
        Value::Number(value) => write_number(*value, out)?,
        Value::Str(text) => write_text(text, out),
        Value::Json(json) => write_json(json, out)?,
        Value::List(items) => {
            write_head(ARRAY, items.len() as u64, out);
            for item in items {
                write_value(item, out)?;
            }
        }
    }
    Some(())
}

/// Writes the array of two texts that stands for the implicit bucketing value.
pub(super) fn write_text_pair(first: &str, second: &str, out: &mut Scratch) {
    write_head(ARRAY, 2, out);
    write_text(first, out);
    write_text(second, out);
}

/// Puts the head of a text before its bytes, which begin at [`HEAD_BYTES_MAX`], and returns the whole.
pub(super) fn text_in_place(scratch: &mut Scratch) -> &[u8] {
    let bytes = scratch.as_bytes_mut();
    let (head, size) = head(TEXT, (bytes.len() - HEAD_BYTES_MAX) as u64);
    let start = HEAD_BYTES_MAX - size;
    bytes[start..HEAD_BYTES_MAX].copy_from_slice(&head[..size]);
    &bytes[start..]
}

fn write_json(json: &serde_json::Value, out: &mut Scratch) -> Option<()> {
    match json {
        serde_json::Value::Array(items) => {
            write_head(ARRAY, items.len() as u64, out);
            items.iter().try_for_each(|item| write_json(item, out))
        }
        serde_json::Value::Object(map) => {
            write_head(MAP, map.len() as u64, out);
            let mut entries: Vec<_> = map.iter().collect();
            // Shorter first, then by bytes: the order of the encoded keys.
            entries.sort_unstable_by(|(left, _), (right, _)| {
                (left.len(), left.as_bytes()).cmp(&(right.len(), right.as_bytes()))
            });
            entries.into_iter().try_for_each(|(key, value)| {
                write_text(key, out);
                write_json(value, out)
            })
        }
        scalar => write_value(&Value::from_json(scalar), out),
    }
}

fn write_text(text: &str, out: &mut Scratch) {
    write_head(TEXT, text.len() as u64, out);
    out.push(text.as_bytes());
}

fn write_number(value: f64, out: &mut Scratch) -> Option<()> {
    if !value.is_finite() {
        return None;
    }
    if value.fract() == 0.0 && (0.0..UNSIGNED_END).contains(&value) {
        write_head(UNSIGNED, value as u64, out);
    } else if value.fract() == 0.0 && (NEGATIVE_MIN..0.0).contains(&value) {
        // -1 - n, in which an i64 cannot overflow.
        write_head(NEGATIVE, !(value as i64) as u64, out);
    } else {
        write_float(value, out);
    }
    Some(())
}

/// Writes a float in the shortest of the three widths that keeps it.
fn write_float(value: f64, out: &mut Scratch) {
    let single = value as f32;
    if f64::from(single) != value {
        out.push(&[0xfb]);
        return out.push(&value.to_be_bytes());
    }
    match half_bits(single) {
        Some(half) => {
            out.push(&[0xf9]);
            out.push(&half.to_be_bytes());
        }
        None => {
            out.push(&[0xfa]);
            out.push(&single.to_be_bytes());
        }
    }
}

/// The same number as an IEEE 754 half, where there is one; finite numbers only.
fn half_bits(value: f32) -> Option<u16> {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xff) as i32 - 127;
    let fraction = bits & 0x7f_ffff;
    if bits << 1 == 0 {
        return Some(sign);
    }
    // A half has 10 bits of fraction; below 2^-14 it is subnormal and loses one more bit per power of two.
    let lost_bits = if exponent < -14 { 13 + (-14 - exponent) } else { 13 };
    if !(-24..=15).contains(&exponent) || (fraction | 0x80_0000).trailing_zeros() < lost_bits as u32 {
        return None;
    }
    if exponent < -14 {
        return Some(sign | ((fraction | 0x80_0000) >> lost_bits) as u16);
    }
    Some(sign | (((exponent + 15) as u16) << 10) | (fraction >> 13) as u16)
}

fn write_head(major: u8, argument: u64, out: &mut Scratch) {
    let (head, size) = head(major, argument);
    out.push(&head[..size]);
}

fn head(major: u8, argument: u64) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    let (short, width) = match argument {
        0..=23 => (argument as u8, 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    head[0] = (major << 5) | short;
    head[1..=width].copy_from_slice(&argument.to_be_bytes()[8 - width..]);
    (head, 1 + width)
}
