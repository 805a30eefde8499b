//! Owns how a time is written for which an override lasts.

use std::time::Duration;

/// The most digits of a number; more are a slip of the finger.
const DIGITS_MAX: usize = 7;

/// Reads `30m`, `90s`, `12h` or `7d`.
///
/// # Errors
/// When it is not a number with one of these units.
pub fn parse_lasts(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write a whole number with its unit, as in 90s, 30m, 12h or 7d");
    let (number, unit_s) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(wrong)?;
    let digits = number.len() <= DIGITS_MAX && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    number.checked_mul(unit_s).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse_lasts(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "30", "m", "+30m", "-1m", "1.5h", "30 m", "30M", "00000001d", "99999999999999999999d", "1m30s"]
        {
            assert!(parse_lasts(text).is_err(), "{text}");
        }
    }
}
