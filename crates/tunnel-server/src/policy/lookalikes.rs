//! Lookalikes: field names that differ in hyphens and underscores only.
//!
//! CGI and its heirs (WSGI, PHP, Rack) turn hyphens into underscores, so to many upstreams `X_Admin` is `X-Admin`.
//! Whoever sets or removes a field that a visitor mustn't choose removes its lookalikes as well.

use http::{HeaderMap, HeaderName};

/// Whether two names are the same, or lookalikes.
pub(crate) fn are_alike(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins_like(name, known)
}

/// Whether a name begins as `known` or a lookalike of it.
pub(crate) fn begins_like(name: &str, known: &str) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= known.len()
        && name.bytes().zip(known.bytes()).all(|(name, known)| fold(name) == fold(known))
}

/// Whether a name has an underscore: of any two lookalikes one does.
pub(crate) fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

/// Removes all fields of such names.
pub(crate) fn remove(headers: &mut HeaderMap, is_such: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_such(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
