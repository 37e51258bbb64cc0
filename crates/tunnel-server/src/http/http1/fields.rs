//! Fields as they stand in a head, or behind a body: lines, and the map that is made of them.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{Bytes, BytesMut};

/// The most fields that an answer may have. Some set a cookie for each of a hundred things.
pub(super) const MAX: usize = 256;

/// A field that the `http` crate doesn't take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field can't be read")]
pub(in crate::http) struct BadField;

/// Makes a map of fields found in `bytes`, whose memory it shares, with room for so many `more`.
///
/// # Errors
/// [`BadField`] for a name or a value with bytes that none has.
pub(super) fn map<'b>(
    bytes: &'b Bytes,
    fields: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])>,
    more: usize,
) -> Result<HeaderMap, BadField> {
    let mut headers = HeaderMap::with_capacity(fields.len() + more);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name).map_err(|_| BadField)?;
        let shared = if value.is_empty() { Bytes::new() } else { bytes.slice_ref(value) };
        let read = HeaderValue::from_maybe_shared(shared);
        // It may be folded, which only an upstream's is.
        let value =
            read.or_else(|_| HeaderValue::from_maybe_shared(unfolded(value))).map_err(|_| BadField)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Fields as `httparse` finds them.
pub(super) fn parsed<'b>(
    fields: &'b [httparse::Header<'b>],
) -> impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> {
    fields.iter().map(|field| (field.name.as_bytes(), field.value))
}

/// The value of a folded field on one line (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> Bytes {
    value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect()
}

/// Writes fields, a line for each.
pub(super) fn write<'h>(
    fields: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
    out: &mut BytesMut,
) {
    fields.into_iter().for_each(|(name, value)| write_one(name.as_str().as_bytes(), value.as_bytes(), out));
}

/// Writes one field.
pub(super) fn write_one(name: &[u8], value: &[u8], out: &mut BytesMut) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
