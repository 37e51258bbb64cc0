//! The grammar that request heads and trailers share: which bytes a line may hold, and what a field is.

/// Bytes that may stand anywhere in a line: visible ASCII, space, tab and obs-text (RFC 9110 §5.5).
/// All others are control bytes, each of which some parser takes for an end or a blank.
static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte == 0x09 || (byte >= 0x20 && byte != 0x7f);
        byte += 1;
    }
    table
};

/// Bytes of a token (RFC 9110 §5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 0x7f {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Why a line is not a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldError {
    /// It starts with a blank: the continuation of the line before, to those who still fold.
    Folded,
    /// There is no colon.
    NoColon,
    /// What is before the colon is no token; a space there included.
    Name,
}

pub(super) fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Splits a field line into name and value, blanks around the value removed.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), FieldError> {
    if let [b' ' | b'\t', ..] = line {
        return Err(FieldError::Folded);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(FieldError::NoColon)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if is_token(name) { Ok((name, trim(value))) } else { Err(FieldError::Name) }
}

/// The members of a comma-separated list, empty ones left out (RFC 9110 §5.6.1.2).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// Removes spaces and tabs only: what `trim_ascii` also takes for blanks, no field value may hold.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
