//! Which header fields a tunnel's owner may set or remove. Client and server ask the same question: the one to tell
//! its person at once, the other because it believes nobody.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// The most a field's name and value may have together, in bytes.
pub const FIELD_MAX: usize = 4 * 1024;

/// What becomes of a header field.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FieldEdit {
    /// Its name.
    pub name: String,
    /// What it is set to, whatever it was before; `None` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Why a field can't be set or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// Not a name (RFC 9110 §5.1).
    #[error("`{0}` is no header name; write `Name: value` to set one, `-Name` to remove one")]
    Name(String),
    /// A value no header may have, or that others would read as two. It may be a secret, so it isn't shown.
    #[error("the value for `{0}` has characters that no header may have (line breaks, others than ASCII)")]
    Value(String),
    /// More than [`FIELD_MAX`].
    #[error("the header `{0}` is longer than {FIELD_MAX} bytes")]
    TooLong(String),
    /// It says how long a message is, or is about one connection only.
    #[error("`{0}` belongs to the connection, not to the message: it can't be set or removed")]
    Connection(String),
    /// It has a policy of its own: [`Policy::HostHeader`](crate::Policy::HostHeader).
    #[error("`Host` is set with `--host-header`")]
    Host,
    /// It says who the visitor is, or who answered: the server's word, on which others rely.
    #[error("`{0}` is said by the server, so that it can be relied on: it can't be set or removed")]
    Said(String),
}

impl FieldEdit {
    /// Sets a field.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> Result<Self, FieldError> {
        Self { name: name.into(), value: Some(value.into()) }.check()
    }

    /// Removes a field.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn remove(name: impl Into<String>) -> Result<Self, FieldError> {
        Self { name: name.into(), value: None }.check()
    }

    /// The edit itself, if it may be done.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn check(self) -> Result<Self, FieldError> {
        let shown = || printable(&self.name, 80);
        let value = self.value.as_deref().unwrap_or("");
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return Err(FieldError::Name(shown()));
        }
        if !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
            return Err(FieldError::Value(shown()));
        }
        if self.name.len() + value.len() > FIELD_MAX {
            return Err(FieldError::TooLong(shown()));
        }
        // Many upstreams take hyphens and underscores for the same.
        let name = self.name.to_ascii_lowercase().replace('_', "-");
        match name.as_str() {
            "host" => Err(FieldError::Host),
            name if CONNECTION.contains(&name) || name.starts_with("proxy-") => {
                Err(FieldError::Connection(shown()))
            }
            name if SAID.contains(&name)
                || name.starts_with("x-forwarded-")
                || name.starts_with("tunnel-") =>
            {
                Err(FieldError::Said(shown()))
            }
            _ => Ok(self),
        }
    }
}

impl fmt::Debug for FieldEdit {
    /// Without the value, which may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.value.is_some() { "set" } else { "removed" };
        write!(f, "FieldEdit({:?}, {done})", self.name)
    }
}

/// Fields about one connection or the framing of a message (RFC 9110 §7.6.1, RFC 9112 §6, RFC 9113 §8.2.2).
const CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields by which the server says who visits.
const SAID: &[&str] = &["forwarded", "x-real-ip"];

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_fields_may_be_edited() {
        for (name, value) in [
            ("X-Env", "demo"),
            ("authorization", "Bearer a, b"),
            ("Server", ""),
            ("X-Tab", "a\tb"),
            ("x_y", "~"),
        ] {
            assert_eq!(FieldEdit::set(name, value).unwrap().value.as_deref(), Some(value));
            assert_eq!(FieldEdit::remove(name).unwrap().value, None);
        }
        let edit = FieldEdit::set("Authorization", "Bearer hunter2").unwrap();
        assert_eq!(format!("{edit:?}"), "FieldEdit(\"Authorization\", set)");
    }

    #[test]
    fn what_the_proxy_lives_by_may_not() {
        for name in ["", "a b", "a:b", "ä", "a\r\nb", "a\0"] {
            assert!(matches!(FieldEdit::set(name, "x"), Err(FieldError::Name(_))), "{name:?}");
        }
        for value in ["a\r\nb", "a\nb", "a\0b", "ä", "\u{7f}"] {
            assert!(matches!(FieldEdit::set("x", value), Err(FieldError::Value(_))), "{value:?}");
        }
        for name in [
            "Connection",
            "TE",
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "Proxy-Authorization",
            "Upgrade",
        ] {
            assert!(matches!(FieldEdit::remove(name), Err(FieldError::Connection(_))), "{name}");
        }
        assert_eq!(FieldEdit::set("HOST", "x"), Err(FieldError::Host));
        for name in ["X-Forwarded-For", "x_forwarded_proto", "Forwarded", "X-Real-IP", "Tunnel-Error"] {
            assert!(matches!(FieldEdit::set(name, "x"), Err(FieldError::Said(_))), "{name}");
        }
        assert!(matches!(FieldEdit::set("x", "y".repeat(FIELD_MAX)), Err(FieldError::TooLong(_))));
    }
}
