//! Owns what a row of checks comes to; pure.

use crate::upstream::HealthCheck;

/// Tells from the checks of one endpoint whether it is healthy.
#[derive(Debug)]
pub struct Verdict {
    healthy: bool,
    /// Whether nothing has ever passed: then the first pass is enough.
    joining: bool,
    /// Checks in a row that spoke against the verdict.
    against: u32,
}

impl Verdict {
    /// Begins with an endpoint that is in service, or with one that waits for its first pass.
    pub fn new(in_service: bool) -> Self {
        Self { healthy: in_service, joining: !in_service, against: 0 }
    }

    /// What the checks have come to.
    pub fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Notes a check; tells the verdict when this one changed it.
    pub fn note(&mut self, passed: bool, check: &HealthCheck) -> Option<bool> {
        if passed == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match self.healthy {
            true => check.unhealthy_after,
            false if self.joining => 1,
            false => check.healthy_after,
        };
        if self.against < needed {
            return None;
        }
        *self = Self { healthy: passed, joining: false, against: 0 };
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(healthy_after: u32, unhealthy_after: u32) -> HealthCheck {
        HealthCheck {
            target: "/".parse().unwrap(),
            host: None,
            interval_ms: 1_000,
            timeout_ms: 500,
            healthy_after,
            unhealthy_after,
            expect_status: 200..=299,
        }
    }

    /// What each check of a row changes: `+` passes, `-` fails.
    fn changes(verdict: &mut Verdict, row: &str, check: &HealthCheck) -> Vec<Option<bool>> {
        row.bytes().map(|byte| verdict.note(byte == b'+', check)).collect()
    }

    #[test]
    fn thresholds_are_exact_and_in_a_row() {
        let (check, mut verdict) = (check(2, 3), Verdict::new(true));
        assert_eq!(changes(&mut verdict, "--+--+--", &check), [None; 8]);
        assert_eq!(changes(&mut verdict, "-", &check), [Some(false)]);
        assert_eq!(changes(&mut verdict, "-+-+-", &check), [None; 5]);
        assert_eq!(changes(&mut verdict, "++", &check), [None, Some(true)]);
        assert_eq!(changes(&mut verdict, "+--", &check), [None; 3]);
    }

    #[test]
    fn who_joins_needs_one_pass_and_who_comes_back_needs_them_all() {
        let (check, mut verdict) = (check(3, 1), Verdict::new(false));
        assert_eq!(changes(&mut verdict, "--+", &check), [None, None, Some(true)]);
        assert_eq!(changes(&mut verdict, "-++", &check), [Some(false), None, None]);
        assert_eq!(changes(&mut verdict, "+", &check), [Some(true)]);
    }
}
