//! Message times: whole seconds since 1970 (NumericDate, RFC 7519 section 2), judged with a skew.

use serde::{Deserialize, Serialize};

use crate::problem::{Problem, Refusal};

/// A moment, in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// So many seconds later.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// So many seconds earlier, not before 1970.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

/// The longest a signed message may be good for, in seconds.
pub const LIFETIME_SECONDS_MAX: u64 = 900;

/// How far two clocks may be apart, in seconds. Only message times know it: certificates and CRLs
/// are judged at local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew(pub u64);

impl Default for Skew {
    fn default() -> Self {
        Self(60)
    }
}

impl Skew {
    /// Refuses a message from the future.
    ///
    /// # Errors
    /// `not-yet-valid` when it was made more than the skew after `now`.
    pub fn check_issued(self, iat: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        if iat > now.plus(self.0) {
            return Err(Refusal::new(
                Problem::NotYetValid,
                format!("iat is {} s ahead of this clock", iat.0 - now.0),
            ));
        }
        Ok(())
    }

    /// Judges `iat` and `exp` together: iat ≤ now + skew, now − skew < exp, 0 < exp − iat ≤ 900.
    ///
    /// # Errors
    /// `malformed` for a lifetime out of bounds, `not-yet-valid`, `expired`.
    pub fn check_window(
        self,
        iat: Timestamp,
        exp: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if exp <= iat || exp.0 - iat.0 > LIFETIME_SECONDS_MAX {
            return Err(Refusal::new(
                Problem::Malformed,
                "exp is not within 900 s after iat",
            ));
        }
        self.check_issued(iat, now)?;
        if now.minus(self.0) >= exp {
            return Err(Refusal::new(
                Problem::Expired,
                format!("exp was {} s ago", now.0 - exp.0),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn judged(iat: u64, exp: u64) -> Option<Problem> {
        Skew::default()
            .check_window(Timestamp(iat), Timestamp(exp), NOW)
            .err()
            .map(|refusal| refusal.problem)
    }

    #[test]
    fn the_skew_counts_on_both_sides_to_the_second() {
        assert_eq!(judged(NOW.0 + 60, NOW.0 + 100), None);
        assert_eq!(judged(NOW.0 + 61, NOW.0 + 100), Some(Problem::NotYetValid));
        assert_eq!(judged(NOW.0 - 100, NOW.0 - 59), None);
        assert_eq!(judged(NOW.0 - 100, NOW.0 - 60), Some(Problem::Expired));
    }

    #[test]
    fn a_lifetime_is_between_one_second_and_fifteen_minutes() {
        assert_eq!(judged(NOW.0, NOW.0 + 900), None);
        assert_eq!(judged(NOW.0, NOW.0 + 901), Some(Problem::Malformed));
        assert_eq!(judged(NOW.0, NOW.0), Some(Problem::Malformed));
    }
}
