//! Months and days, for quotas and for people; all in UTC.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A calendar month, in UTC: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    /// 1 to 12.
    month: u8,
}

/// Not a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a month: write one such as `2026-11`")]
pub struct ParseMonthError;

impl Month {
    /// The month of a moment.
    pub fn of(time: SystemTime) -> Self {
        let (year, month, _day) = civil(days(time));
        Self { year, month }
    }

    /// When the next one begins.
    pub fn end(self) -> SystemTime {
        let (year, month) = if self.month == 12 {
            (u64::from(self.year) + 1, 1)
        } else {
            (u64::from(self.year), u64::from(self.month) + 1)
        };
        UNIX_EPOCH + Duration::from_secs(days_before(year, month) * 86_400)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = ParseMonthError;

    fn from_str(text: &str) -> Result<Self, ParseMonthError> {
        let (year, month) = text.split_once('-').ok_or(ParseMonthError)?;
        let month = month.parse().ok().filter(|month| (1..=12).contains(month)).ok_or(ParseMonthError)?;
        Ok(Self { year: year.parse().map_err(|_| ParseMonthError)?, month })
    }
}

/// A day: `2026-11-30`.
pub(crate) fn date(time: SystemTime) -> String {
    let (year, month, day) = civil(days(time));
    format!("{year:04}-{month:02}-{day:02}")
}

fn days(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400
}

/// Year, month and day of a day since 1970, after "chrono-Compatible Low-Level Date Algorithms" (Hinnant). Years begin in
/// March there, so that the leap day comes last.
fn civil(days: u64) -> (u16, u8, u8) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    (u16::try_from(year).unwrap_or(u16::MAX), small(month), small(day))
}

/// Days from 1970 to the first of a month; the opposite.
fn days_before(year: u64, month: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year / 400, year % 400);
    let day = 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5;
    era * 146_097 + day - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn months_and_days_begin_and_end_where_the_calendar_says() {
        for (seconds, month, end) in [
            (0, "1970-01", 2_678_400),
            (951_782_399, "2000-02", 951_868_800),
            (951_868_799, "2000-02", 951_868_800),
            (951_868_800, "2000-03", 954_547_200),
            (1_735_689_599, "2024-12", 1_735_689_600),
            (1_735_689_600, "2025-01", 1_738_368_000),
            (1_764_201_600, "2025-11", 1_764_547_200),
        ] {
            let found = Month::of(at(seconds));
            assert_eq!((found.to_string().as_str(), found.end()), (month, at(end)), "{seconds}");
            assert_eq!(month.parse(), Ok(found));
        }
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_764_201_599, "2025-11-26"),
            (1_735_689_599, "2024-12-31"),
        ] {
            assert_eq!(date(at(seconds)), day);
        }
        for text in ["", "2026", "2026-13", "2026-0", "x-01", "2026-01-01"] {
            assert_eq!(text.parse::<Month>(), Err(ParseMonthError), "{text}");
        }
    }
}
