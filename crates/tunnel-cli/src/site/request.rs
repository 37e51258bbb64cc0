//! Reading a request's head, as much of it as a small site needs.

/// Most bytes of a head.
const HEAD_MAX: usize = 32 * 1024;
/// Most fields of a head.
const FIELDS_MAX: usize = 100;

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) has_body: bool,
    pub(super) wants_close: bool,
    /// Bytes of the head.
    pub(super) length: usize,
}

/// The head at the start of `bytes`; `None` while it isn't whole.
///
/// # Errors
/// The status line of the answer to a head that can't be read.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err("431 Request Header Fields Too Large");
        }
        Err(_) => return Err("400 Bad Request"),
    };
    let fields: Vec<_> = head
        .headers
        .iter()
        .map(|field| (field.name.to_lowercase(), String::from_utf8_lossy(field.value).into_owned()))
        .collect();
    let value = |name| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let has_body =
        value("transfer-encoding").is_some() || value("content-length").is_some_and(|length| length != "0");
    let keeps = head.version == Some(1);
    let wants_close = value("connection").map_or(!keeps, |value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: head.path.unwrap_or_default().to_owned(),
        has_body,
        wants_close,
        length,
        fields,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_whole_and_in_part() {
        let text = b"GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nmore";
        let request = parse(text).unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/a?b"));
        assert_eq!(request.length, text.len() - 4);
        assert!(request.wants_close && !request.has_body);
        assert_eq!(parse(&text[..20]), Ok(None));
        assert!(parse(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n").unwrap().unwrap().has_body);
        assert!(parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap().wants_close);
    }

    #[test]
    fn heads_that_are_none() {
        assert_eq!(parse(b"\x16\x03\x01\x00\x00"), Err("400 Bad Request"));
        assert_eq!(parse(&[b'A'; HEAD_MAX]), Err("431 Request Header Fields Too Large"));
    }
}
