//! The date of an answer (RFC 9110 §6.6.1), written once a second.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ::http::{HeaderMap, HeaderValue, header::DATE};

thread_local! {
    /// The second that was written last, since 1970, and how.
    static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Gives an answer a date unless it has one: whoever passes it on, and knows the time, does (RFC 9110 §6.6.1).
pub(super) fn stamp(headers: &mut HeaderMap) {
    if !headers.contains_key(DATE)
        && let Some(now) = now()
    {
        headers.insert(DATE, now);
    }
}

/// Now, or `None` on a machine whose clock stands before 1970.
pub(super) fn now() -> Option<HeaderValue> {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    LAST.with_borrow_mut(|last| match last {
        Some((written, value)) if *written == second => Some(value.clone()),
        _ => {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            let value = HeaderValue::try_from(text).ok()?;
            *last = Some((second, value.clone()));
            Some(value)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_date_and_gets_one_if_it_has_none() {
        let mut headers = HeaderMap::new();
        stamp(&mut headers);
        let ours = headers[DATE].to_str().unwrap().to_owned();
        let written = httpdate::parse_http_date(&ours).unwrap();
        assert!(written.elapsed().unwrap() < Duration::from_secs(60), "{ours}");
        headers.insert(DATE, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        stamp(&mut headers);
        assert_eq!(headers[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
