//! Owns walking over all gaps and parked copies, a page at a time, in the order of their keys: what comes and goes meanwhile moves
//! nothing else.

use super::gaps::GAPS;
use super::{PARKED, Parked, TableError, Tables};
use crate::mirror::record::Gap;

/// Hexadecimal digits of the number in its text.
const NUMBER_DIGITS: usize = 32;

/// Where a walk goes on: behind this key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    destination: Box<str>,
    number: u128,
    /// Nothing was visited yet.
    is_start: bool,
}

impl Position {
    /// Before everything.
    pub fn start() -> Self {
        Self { is_start: true, ..Self::default() }
    }

    /// Reads what [`Position::to_text`] wrote, or `start`.
    pub fn of_text(text: &str) -> Option<Self> {
        if text == "start" {
            return Some(Self::start());
        }
        let (number, destination) = text.split_at_checked(NUMBER_DIGITS)?;
        let number = u128::from_str_radix(number, 16).ok()?;
        Some(Self { destination: destination.into(), number, is_start: false })
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        format!("{:032x}{}", self.number, self.destination)
    }

    fn behind(destination: &str, number: u128) -> Self {
        Self { destination: destination.into(), number, is_start: false }
    }
}

/// A page, and where the next one begins; `None` where this one is the last.
pub type Page<T> = (Vec<T>, Option<Position>);

impl Tables {
    /// The gaps behind a place, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn gaps_behind(&self, position: &Position, limit: usize) -> Result<Page<Gap>, TableError> {
        let (high, low) = ((position.number >> 64) as u64, position.number as u64);
        let table = self.reading()?.open_table(GAPS)?;
        let (mut found, mut last) = (Vec::new(), None);
        for entry in table.range((&*position.destination, high, low)..)? {
            let (key, value) = entry?;
            let (destination, unix_ms, hash) = key.value();
            let here = Position::behind(destination, u128::from(unix_ms) << 64 | u128::from(hash));
            if here == *position {
                continue;
            }
            if found.len() >= limit {
                return Ok((found, last));
            }
            found.extend(Gap::decode(value.value()).ok());
            last = Some(here);
        }
        Ok((found, None))
    }

    /// The parked copies behind a place, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn parked_behind(&self, position: &Position, limit: usize) -> Result<Page<Parked>, TableError> {
        let table = self.reading()?.open_table(PARKED)?;
        let (mut found, mut last) = (Vec::new(), None);
        for entry in table.range((&*position.destination, position.number)..)? {
            let (key, value) = entry?;
            let here = Position::behind(key.value().0, key.value().1);
            if here == *position {
                continue;
            }
            if found.len() >= limit {
                return Ok((found, last));
            }
            found.extend(Parked::decode(value.value()));
            last = Some(here);
        }
        Ok((found, None))
    }
}
