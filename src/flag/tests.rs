//! Tests of the hash, its input, versions and conversions, which the public face does not show.

use serde_json::{Value as Json, json};

use super::cbor;
use super::murmur::murmur3;
use super::scratch::Scratch;
use super::semver::Version;
use super::value::Value;

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../tests/fixtures/fractional.json")).expect("the fixture")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cbor_hex(json: &Json) -> String {
    let mut scratch = Scratch::new();
    cbor::write_value(&Value::from_json(json), &mut scratch).expect("a value that CBOR has");
    hex(scratch.as_bytes())
}

#[test]
fn murmur3_hashes_as_the_reference_does() {
    let vectors = vectors();
    for name in ["boundary_keys_v2", "murmur3_x86_32_seed0"] {
        let list = vectors[name].as_array().expect("a list");
        assert!(list.len() >= 5);
        for vector in list {
            let text = vector["string"].as_str().expect("a string");
            assert_eq!(vector["hash"], murmur3(text.as_bytes()), "{text}");
        }
    }
}

#[test]
fn hash_inputs_of_both_generations_are_those_of_the_vectors() {
    for (flag, form) in vectors()["flags"].as_object().expect("flags") {
        for vector in form["vectors"].as_array().expect("vectors") {
            let key = vector["targetingKey"].as_str().expect("a key");
            let joined = format!("{flag}{key}");
            assert_eq!(vector["v2"]["hash"], murmur3(joined.as_bytes()), "{vector}");
            let mut scratch = Scratch::new();
            let input = if form["form"] == "implicit" {
                cbor::write_text_pair(flag, key, &mut scratch);
                scratch.as_bytes()
            } else {
                scratch.push(&[0; cbor::HEAD_BYTES_MAX]);
                scratch.push(joined.as_bytes());
                cbor::text_in_place(&mut scratch)
            };
            assert_eq!(vector["v3"]["hash_input_hex"], hex(input), "{vector}");
            assert_eq!(vector["v3"]["hash"], murmur3(input), "{vector}");
        }
    }
}

/// From RFC 8949, appendix A, where it has the value.
#[test]
fn cbor_is_deterministic_and_shortest() {
    let examples = [
        (json!(0), "00"),
        (json!(23), "17"),
        (json!(24), "1818"),
        (json!(1_000), "1903e8"),
        (json!(1_000_000), "1a000f4240"),
        (json!(1_000_000_000_000_i64), "1b000000e8d4a51000"),
        (json!(-1), "20"),
        (json!(-1_000), "3903e7"),
        (json!(1.1), "fb3ff199999999999a"),
        (json!(1.5), "f93e00"),
        (json!(5.960_464_477_539_063e-8), "f90001"),
        (json!(0.000_061_035_156_25), "f90400"),
        (json!(0.333_251_953_125), "f93555"),
        (json!(3.402_823_466_385_288_6e38), "fa7f7fffff"),
        (json!(-4.1), "fbc010666666666666"),
        (json!(1e300), "fb7e37e43c8800759c"),
        (json!(-0.0), "00"),
        (json!(false), "f4"),
        (json!(null), "f6"),
        (json!("ü"), "62c3bc"),
        (json!([1, [2, 3], []]), "8301820203 80".trim()),
        (json!({"aa": 2, "z": 1}), "a2617a0162616102"),
    ];
    for (value, expected) in examples {
        assert_eq!(cbor_hex(&value), expected.replace(' ', ""), "{value}");
    }
    let long = "x".repeat(300);
    assert_eq!(cbor_hex(&json!(long)), format!("79012c{}", "78".repeat(300)));
}

#[test]
fn a_number_that_json_lacks_has_no_cbor() {
    let mut scratch = Scratch::new();
    assert!(cbor::write_value(&Value::Number(f64::NAN), &mut scratch).is_none());
    assert!(cbor::write_value(&Value::Number(f64::INFINITY), &mut scratch).is_none());
}

#[test]
fn scratch_keeps_its_bytes_when_it_moves_to_the_heap() {
    let mut scratch = Scratch::new();
    let mut expected = Vec::new();
    for number in 0..=255_u8 {
        scratch.push(&[number, number]);
        expected.extend([number, number]);
        assert_eq!(scratch.as_bytes(), expected);
    }
}

/// The order of semver.org, section 11.
#[test]
fn versions_are_ordered() {
    let ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1",
        "v1.0.1",
        "1.2",
        "2.0.0",
        "10.0.0",
    ];
    let versions = ordered.map(|text| Version::parse(text).expect(text));
    for (at, left) in versions.iter().enumerate() {
        for (other, right) in versions.iter().enumerate() {
            assert_eq!(left.matches("<", *right), Some(at < other), "{left:?} {right:?}");
            assert_eq!(left.matches("=", *right), Some(at == other), "{left:?} {right:?}");
        }
    }
}

#[test]
fn what_is_no_version_is_refused() {
    for text in ["", "v", "a", "1.", "1.2.3.4", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1.0-rc", "1.0.0-ä", "-1"] {
        assert_eq!(Version::parse(text), None, "{text}");
    }
    let build = Version::parse("1.0.0+001").expect("build metadata may be padded");
    assert_eq!(build.matches("=", Version::parse("1.0.0").expect("a version")), Some(true));
    assert_eq!(build.matches("===", build), None);
}

#[test]
fn numbers_read_and_write_as_in_javascript() {
    let texts =
        [(1.0, "1"), (-0.0, "0"), (0.1, "0.1"), (1e21, "1e+21"), (1.5e-7, "1.5e-7"), (123_456.789, "123456.789")];
    for (number, text) in texts {
        assert_eq!(Value::Number(number).to_text(), text);
        assert!((Value::Str(text.into()).to_number() - number).abs() <= f64::EPSILON * number.abs());
    }
    assert!(Value::Str("inf".into()).to_number().is_nan());
    assert!(Value::Str("0x10 apples".into()).to_number().is_nan());
    assert_eq!(Value::Str(" \n".into()).to_number().to_bits(), 0);
    assert_eq!(Value::Json(&json!([1, [2, null], "x"])).to_text(), "1,2,,x");
}
