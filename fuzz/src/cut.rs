//! How bytes arrive in pieces: all the ways that matter for one input, chosen by the input.

/// Pieces of `data` in order, of lengths that look random but are the same for the same data.
///
/// A quarter of all inputs come byte by byte, and a piece may be empty: a reader must take that too.
pub fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut state = hash(data);
    let longest = [1, 4, 32, 4096][usize::from(state as u8 % 4)];
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = next(state);
        let len = if longest == 1 { 1 } else { (state >> 33) as usize % (longest + 1) };
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// Ever longer beginnings of `data`, the last of which is all of it.
pub fn beginnings(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut end = 0;
    let grown = pieces(data).map(move |piece| {
        end += piece.len();
        &data[..end]
    });
    std::iter::once(&data[..0]).chain(grown)
}

/// FNV-1a: any hash would do that is the same on every machine.
pub fn hash(data: &[u8]) -> u64 {
    data.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The next of a sequence that begins with a [`hash`] (Knuth's MMIX generator; the high bits are the good ones).
pub fn next(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}
