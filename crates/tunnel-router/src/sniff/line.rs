//! The grammar that request heads and trailers share: which bytes a line may hold, and what a field is.

/// How many bytes are looked at at once.
const PIECE: usize = 16;

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

/// Whether a byte may stand anywhere in a line: visible ASCII, space, tab and obs-text (RFC 9110 §5.5).
/// All others are control bytes, each of which some parser takes for an end or a blank.
pub(super) fn is_plain(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// How many bytes at the start are plain.
pub(super) fn plain_prefix(text: &[u8]) -> usize {
    let is_unlike = |byte: &u8| !is_plain(*byte);
    // Without a way out in the middle, the compiler looks at all bytes of a piece at once.
    let are_plain = |piece: &&[u8; PIECE]| piece.iter().fold(true, |all, byte| all & is_plain(*byte));
    let (pieces, _) = text.as_chunks::<PIECE>();
    let start = PIECE * pieces.iter().take_while(are_plain).count();
    text[start..].iter().position(is_unlike).map_or(text.len(), |offset| start + offset)
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Splits a field line into name and value, blanks around the value removed.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), FieldError> {
    if let [b' ' | b'\t', ..] = line {
        return Err(FieldError::Folded);
    }
    let end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).ok_or(FieldError::NoColon)?;
    match &line[end..] {
        [b':', value @ ..] if end > 0 => Ok((&line[..end], trim(value))),
        rest if rest.contains(&b':') => Err(FieldError::Name),
        _ => Err(FieldError::NoColon),
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_byte_that_is_not_plain_is_found_wherever_it_is(
            mut text in prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..80),
            other in prop_oneof![0..=8_u8, 0x0a..=0x1f_u8, Just(0x7f)],
            place in any::<prop::sample::Index>(),
        ) {
            prop_assert_eq!(plain_prefix(&text), text.len());
            let place = place.index(text.len() + 1);
            text.insert(place, other);
            prop_assert_eq!(plain_prefix(&text), place);
        }
    }
}
