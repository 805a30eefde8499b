//! Owns reading the query of a request: names that are known, each at most once.

use super::Problem;
use crate::control::ofrep::decode;

/// The parameters of a request, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// When it has a name that is not among `known`, or has one twice.
    pub(super) fn read(text: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut read: Vec<(String, String)> = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name), decode(&value.replace('+', " ")));
            if !known.contains(&&*name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::malformed(format!(
                    "there is no query parameter `{name}` here; there are: {known}"
                )));
            }
            if read.iter().any(|(other, _)| *other == name) {
                return Err(Problem::malformed(format!("the query parameter `{name}` is given twice")));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads a number within bounds.
    pub(super) fn number(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // No sign and nothing else that Rust takes and others do not.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && bounds.contains(number));
        let wrong = || format!("`{name}` is a whole number from {} to {}", bounds.start(), bounds.end());
        number.map(Some).ok_or_else(|| Problem::malformed(wrong()))
    }

    /// Reads a switch; absent is off.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::malformed(format!("`{name}` is true or false"))),
        }
    }
}
