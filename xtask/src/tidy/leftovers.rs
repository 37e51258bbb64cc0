//! Words that mean "not finished": a stub, a debug print, a note to oneself, a test switched off, a lint switched off.
//!
//! The words are written in two halves here, so that the checker may be held to its own rule.

use super::file::{File, has_word};
use super::tree::Tree;
use super::violation::Violation;

/// A word, the rule against it and the way out.
struct Leftover {
    word: &'static str,
    why: &'static str,
    mend: &'static str,
}

const STUB: &str = "no stubs: what is named works";
const NOTE: &str = "notes to oneself go stale in the tree";

const LEFTOVERS: &[Leftover] = &[
    Leftover { word: concat!("to", "do!("), why: STUB, mend: "build it, or leave it out" },
    Leftover { word: concat!("unimpl", "emented!("), why: STUB, mend: "build it, or leave it out" },
    Leftover { word: concat!("db", "g!("), why: "a library prints nothing", mend: "remove it, or trace it" },
    Leftover { word: concat!("FIX", "ME"), why: NOTE, mend: "mend it, or open an issue" },
    Leftover { word: concat!("XX", "X"), why: NOTE, mend: "mend it, or open an issue" },
    Leftover {
        word: concat!("#[ign", "ore"),
        why: "a test that never runs proves nothing",
        mend: "mend or delete it",
    },
    Leftover {
        word: concat!("#[al", "low("),
        why: "an exception goes away once it isn't needed",
        mend: EXPECT,
    },
    Leftover {
        word: concat!("#![al", "low("),
        why: "an exception goes away once it isn't needed",
        mend: EXPECT,
    },
];
const EXPECT: &str = "mend the cause, or use #[expect(lint, reason = \"...\")]";

/// Checks every line of every Rust file.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(file: &File) -> impl Iterator<Item = Violation> {
    file.text.lines().enumerate().flat_map(move |(index, line)| {
        LEFTOVERS.iter().filter(move |leftover| has_word(line, leftover.word)).map(move |leftover| {
            Violation {
                place: file.place(index),
                what: format!("`{}`", leftover.word),
                why: leftover.why,
                mend: leftover.mend,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_in(text: &str) -> Vec<String> {
        check(&Tree::of(&[("crates/a/src/b.rs", text)]))
            .into_iter()
            .map(|violation| violation.place)
            .collect()
    }

    #[test]
    fn every_leftover_is_found_where_it_stands() {
        for leftover in LEFTOVERS {
            let text = format!("//! Why.\n    {} x)]\n", leftover.word);
            assert_eq!(places_in(&text), ["crates/a/src/b.rs:2"], "{}", leftover.word);
        }
    }

    #[test]
    fn words_inside_words_are_not_leftovers() {
        assert!(
            LEFTOVERS.iter().all(|leftover| !has_word(&format!("mktemp a{}X", "X".repeat(3)), leftover.word))
        );
        assert!(places_in(&format!("my_{}x)", LEFTOVERS[0].word)).is_empty());
        assert!(places_in("#[expect(dead_code, reason = \"allow(x)\")]").is_empty());
    }
}
