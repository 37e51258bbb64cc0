//! Both readers of chunks agree on everything that the strict one lets pass.

use proptest::prelude::*;

use super::*;

/// Chunks as they should be, and nearly so.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (1..30_usize).prop_map(|length| format!("{length:x}\r\n{}\r\n", "d".repeat(length))),
        2 => Just("0\r\n\r\n".to_owned()),
        1 => Just("0\r\nX-Sum: 1\r\n\r\n".to_owned()),
        1 => Just("2;a=b\r\nok\r\n".to_owned()),
        1 => "[0-9a-f;\r\n x:]{0,8}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn the_end_is_where_both_readers_see_it(body in bodies(), cut in 1..40_usize) {
        let (mut chunked, mut has_ended) = (Chunked::default(), false);
        for piece in body.chunks(cut) {
            let Ok(progress) = chunked.ends.advance(piece) else { return Ok(()) };
            let mut came = Bytes::copy_from_slice(&piece[..progress.consumed]);
            while !came.is_empty() {
                match chunked.chunks.advance(&mut came).unwrap() {
                    Step::More => prop_assert!(came.is_empty()),
                    Step::Data(data) => prop_assert!(!data.is_empty()),
                    Step::End(_) => {
                        prop_assert!(came.is_empty(), "the strict one sees it later");
                        has_ended = true;
                    }
                }
            }
            prop_assert_eq!(progress.done, has_ended);
            if has_ended {
                return Ok(());
            }
        }
    }
}
