//! Where to report what is published through a server: shown on the server's own pages, never on an upstream's.

use std::fmt;

use tunnel_router::Hostname;

/// An email address or the URL of a page; nothing else, since it becomes a link on pages that strangers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    shown: String,
    is_email: bool,
}

/// A text that is no contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an email address such as `abuse@example.com`, or a URL such as `https://example.com/abuse`")]
pub struct ContactError;

/// The longest one, in bytes.
const LONGEST: usize = 254;

impl Contact {
    /// Reads `abuse@example.com`, `mailto:abuse@example.com`, `https://example.com/abuse` or the same with `http://`.
    ///
    /// # Errors
    /// [`ContactError`] for everything else, and what is longer than 254 bytes.
    pub fn parse(text: &str) -> Result<Self, ContactError> {
        let text = text.trim();
        let shown = text.strip_prefix("mailto:").unwrap_or(text);
        if shown.len() > LONGEST || !shown.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ContactError);
        }
        let is_email = is_email(shown);
        if !is_email && (shown.len() != text.len() || !is_url(shown)) {
            return Err(ContactError);
        }
        Ok(Self { shown: shown.to_owned(), is_email })
    }

    /// What a link to it leads to.
    pub(crate) fn href(&self) -> String {
        if self.is_email { format!("mailto:{}", self.shown) } else { self.shown.clone() }
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A local part without quotes and comments, at a host (RFC 5321 §4.1.2).
fn is_email(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    text.split_once('@').is_some_and(|(local, host)| {
        !local.is_empty() && local.bytes().all(is_plain) && Hostname::parse(host).is_ok()
    })
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !text.contains(['"', '<', '>', '\\', '`']) && Hostname::parse_authority(authority).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_and_urls_are_contacts_and_nothing_else_is() {
        for (text, href, shown) in [
            ("abuse@example.com", "mailto:abuse@example.com", "abuse@example.com"),
            (" mailto:a+b@example.com ", "mailto:a+b@example.com", "a+b@example.com"),
            (
                "https://example.com/abuse?x=1",
                "https://example.com/abuse?x=1",
                "https://example.com/abuse?x=1",
            ),
            ("http://example.com:8080", "http://example.com:8080", "http://example.com:8080"),
        ] {
            let contact = Contact::parse(text).unwrap();
            assert_eq!((contact.href(), contact.to_string()), (href.into(), shown.into()));
        }
        for text in [
            "",
            "abuse",
            "@example.com",
            "abuse@",
            "a b@example.com",
            "abuse@exa mple.com",
            "abuse@example.com\r\nX: y",
            "\"<script>\"@example.com",
            "javascript:alert(1)",
            "mailto:https://example.com",
            "ftp://example.com",
            "https://",
            "https://user@example.com/",
            "https://example.com/\"><script>",
            &format!("{}@example.com", "a".repeat(254)),
        ] {
            assert_eq!(Contact::parse(text), Err(ContactError), "{text}");
        }
    }
}
