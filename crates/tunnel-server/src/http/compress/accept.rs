//! Whether a visitor takes gzip (RFC 9110 §12.5.3).

use ::http::{HeaderMap, header::ACCEPT_ENCODING};

use crate::http::headers::members;

/// Whether a visitor takes gzip, and likes it no less than no coding. Silence is no yes, and neither is nonsense.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for member in members(headers, &ACCEPT_ENCODING) {
        let Some((name, weight)) = read(member) else { return false };
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let weight = gzip.or(any).unwrap_or(0);
    // Not said, identity is acceptable and nothing more.
    weight > 0 && weight >= identity.unwrap_or(0)
}

/// A member's name and its weight in thousandths; `None` if it makes no sense, so that nothing is guessed.
fn read(member: &str) -> Option<(&str, u16)> {
    let Some((name, parameter)) = member.split_once(';') else { return Some((member, 1000)) };
    let (q, value) = parameter.trim().split_once('=')?;
    let weight = value.trim();
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let is_valid =
        matches!(whole, "0" | "1") && fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    if !q.trim().eq_ignore_ascii_case("q") || !is_valid {
        return None;
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse().ok().filter(|weight| *weight <= 1000)?;
    Some((name.trim(), thousandths))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn weights_count() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("br;q=0.5, gzip;q=0.001", true),
            ("gzip ; q=0.5", true),
            ("gzip;Q=1.000", true),
            ("*", true),
            ("*;q=0.1, br", true),
            ("*;q=0.1, gzip;q=0", false),
            ("gzip;q=0", false),
            ("gzip;q=0.0, br", false),
            ("*;q=0", false),
            ("identity", false),
            ("identity;q=0, gzip;q=0.1", true),
            ("identity;q=1, gzip;q=0.5", false),
            ("identity, gzip", true),
            ("br, deflate, zstd", false),
            ("", false),
            (",,gzip,", true),
            ("gzip;q=2", false),
            ("gzip;q=1.001", false),
            ("gzip;q=0.1234", false),
            ("gzip;q", false),
            ("gzip;level=9", false),
            ("gzip;q=-1", false),
            ("gzip;q=", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
        let mut lines = HeaderMap::new();
        lines.append(ACCEPT_ENCODING, HeaderValue::from_static("br;q=0.1"));
        lines.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(takes_gzip(&lines));
    }
}
