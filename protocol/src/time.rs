//! Message times: whole seconds since 1970 (NumericDate, RFC 7519 section 2), judged with a skew.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    json::INTEGER_MAX,
    problem::{Problem, Refusal},
    schema,
};

/// A moment, in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        schema::integer(0, INTEGER_MAX, "Whole seconds since 1970-01-01T00:00:00Z.").into()
    }
}

impl ToSchema for Timestamp {}

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

/// As people read it, in UTC: `2026-11-24 16:06:28 UTC`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // Years of four digits only; no clock of ours shows another one.
        let Some((year, month, day)) = date(days).filter(|(year, ..)| *year <= 9999) else {
            return write!(f, "{} s after 1970", self.0);
        };
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

impl Timestamp {
    /// As other systems read it: `2026-11-24T16:06:28Z` (RFC 3339).
    pub fn to_rfc3339(self) -> String {
        self.to_string().replacen(' ', "T", 1).replace(" UTC", "Z")
    }

    /// Reads exactly what [`Timestamp::to_rfc3339`] writes.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
        // A year is counted from March, as below.
        let (years, months) = match month {
            3.. => (year, month - 3),
            _ => (year.checked_sub(1)?, month + 9),
        };
        let days = years * 365 + years / 4 - years / 100
            + years / 400
            + (153 * months + 2) / 5
            + day.checked_sub(1)?;
        let time = Self(days.checked_sub(719_468)? * 86_400 + seconds);
        // What is no date, or is written in another way, is not what is written for it.
        (time.to_rfc3339() == text).then_some(time)
    }
}

/// The Gregorian date so many days after 1970-01-01. A year is counted from March, so that the leap day is
/// its last, in eras of 400 years.
fn date(days: u64) -> Option<(u64, u64, u64)> {
    const ERA_DAYS: u64 = 146_097;
    // From 0000-03-01 on.
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, later_year) = match month_from_march {
        0..=9 => (month_from_march + 3, 0),
        _ => (month_from_march - 9, 1),
    };
    Some((era * 400 + year_of_era + later_year, month, day))
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
    fn a_moment_is_written_in_utc() {
        let shown = |seconds| Timestamp(seconds).to_string();
        assert_eq!(shown(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(shown(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(shown(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(shown(1_709_251_200), "2024-03-01 00:00:00 UTC");
        assert_eq!(shown(1_800_000_022), "2027-01-15 08:00:22 UTC");
        assert_eq!(shown(4_107_542_400), "2100-03-01 00:00:00 UTC");
        assert_eq!(shown(253_402_300_799), "9999-12-31 23:59:59 UTC");
        assert_eq!(shown(253_402_300_800), "253402300800 s after 1970");
        assert_eq!(shown(u64::MAX), "18446744073709551615 s after 1970");
    }

    #[test]
    fn a_moment_is_written_for_other_systems_and_read_in_that_form_only() {
        for seconds in [
            0,
            951_782_399,
            951_782_400,
            1_709_251_200,
            1_800_000_022,
            253_402_300_799,
        ] {
            let time = Timestamp(seconds);
            assert_eq!(Timestamp::from_rfc3339(&time.to_rfc3339()), Some(time));
        }
        assert_eq!(
            Timestamp(1_800_000_022).to_rfc3339(),
            "2027-01-15T08:00:22Z"
        );
        for other in [
            "2027-01-15T08:00:22",
            "2027-01-15 08:00:22Z",
            "2027-01-15T08:00:22.5Z",
            "2027-01-15T08:00:22+00:00",
            "2027-02-29T08:00:22Z",
            "2027-13-01T08:00:22Z",
            "2027-00-01T08:00:22Z",
            "2027-01-00T08:00:22Z",
            "2027-01-15T08:00:60Z",
            "0000-01-15T08:00:22Z",
            "1969-12-31T23:59:59Z",
            "+027-01-15T08:00:22Z",
            "2027-01-15T08:00:22Ü",
            "",
        ] {
            assert_eq!(Timestamp::from_rfc3339(other), None, "{other}");
        }
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
