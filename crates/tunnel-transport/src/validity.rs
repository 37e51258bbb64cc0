//! From when until when a certificate is valid.
//!
//! Only what people are told depends on it: the TLS library checks the dates itself, and doesn't say what they are. So
//! this reads just the two dates (RFC 5280 §4.1), from a certificate that a real parser has read before, and has no
//! opinion on the rest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The two dates in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Reads the dates; `None` if this is no certificate after all, or a date is none.
pub(crate) fn of(certificate: &[u8]) -> Option<Validity> {
    let (_, mut certificate) = element(&mut &*certificate)?;
    let (_, mut body) = element(&mut certificate)?;
    if body.first() == Some(&VERSION) {
        element(&mut body)?;
    }
    expect(&mut body, INTEGER)?; // serial number
    expect(&mut body, SEQUENCE)?; // signature algorithm
    expect(&mut body, SEQUENCE)?; // issuer
    let mut validity = expect(&mut body, SEQUENCE)?;
    Some(Validity { not_before: time(&mut validity)?, not_after: time(&mut validity)? })
}

fn expect<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(from).filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

/// Takes one element of DER: its tag and its content.
fn element<'a>(from: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], rest) = from.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some((tag, content))
}

fn time(from: &mut &[u8]) -> Option<SystemTime> {
    let (tag, text) = element(from)?;
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, text) = match tag {
        // Two digits, which stand for 1950 to 2049.
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text)
        }
        GENERALIZED_TIME => {
            let (year, text) = text.split_at_checked(4)?;
            (number(year)?, text)
        }
        _ => return None,
    };
    let mut parts = text.as_bytes().chunks(2).map(|digits| number(str::from_utf8(digits).ok()?));
    let mut part = || parts.next().flatten();
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        Err(_long_ago) => Some(UNIX_EPOCH),
    }
}

fn number(digits: &str) -> Option<i64> {
    digits.parse().ok().filter(|number| *number >= 0)
}

/// In the Gregorian calendar, counted in years that begin in March, so that the leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2024, 12, 31), 20_088),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days_since_1970(date.0, date.1, date.2), days, "{date:?}");
        }
    }

    #[test]
    fn both_kinds_of_time() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "261122174238Z", Some(1_795_369_358)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "2050010100000", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "70010100-100Z", None),
            (INTEGER, "700101000000Z", None),
        ] {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend_from_slice(text.as_bytes());
            let read = time(&mut &der[..]).map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs());
            assert_eq!(read, seconds, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        for bytes in
            [&b""[..], &[0x30], &[0x30, 0x80], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 2, 0x30, 0]]
        {
            assert_eq!(of(bytes), None, "{bytes:?}");
        }
    }
}
