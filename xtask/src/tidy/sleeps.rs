//! Tests wait for an event, never for luck: a sleep is too short on a loaded machine and too long on every other.
//!
//! Some tests are about time passing. Those say so, on the line or on the one above: `// sleep: <reason>`.

use super::file::{File, code_of, has_word};
use super::tree::Tree;
use super::violation::Violation;

const CALL: &str = "sleep(";
const REASON: &str = "// sleep: ";

/// Checks every line of test code.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Violation> {
    let lines: Vec<&str> = file.text.lines().collect();
    let is_excused = |index: usize| {
        lines[index].contains(REASON)
            || index.checked_sub(1).is_some_and(|above| lines[above].contains(REASON))
    };
    (file.first_test_line()..lines.len())
        .filter(|&index| has_word(code_of(lines[index]), CALL) && !is_excused(index))
        .map(|index| Violation {
            place: file.place(index),
            what: "a test sleeps".into(),
            why: "tests wait for events, never sleep for luck",
            mend: "wait for what should happen, or say why time must pass: `// sleep: <reason>`",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_in(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|violation| violation.place).collect()
    }

    #[test]
    fn a_bare_call_in_test_code_is_found() {
        let call = format!("tokio::time::{CALL}x).await;");
        assert_eq!(places_in("crates/a/tests/it.rs", &call), ["crates/a/tests/it.rs:1"]);
        let inline = format!("{call}\n#[cfg(test)]\nmod tests {{\n    {call}\n}}\n");
        assert_eq!(places_in("crates/a/src/b.rs", &inline), ["crates/a/src/b.rs:4"]);
    }

    #[test]
    fn a_reason_excuses_it() {
        let call = format!("tokio::time::{CALL}x).await;");
        assert!(places_in("crates/a/tests/it.rs", &format!("{call} {REASON}a slow upstream")).is_empty());
        assert!(places_in("crates/a/tests/it.rs", &format!("{REASON}a slow upstream\n{call}")).is_empty());
        assert_eq!(places_in("crates/a/tests/it.rs", &format!("{REASON}one\n{call}\n{call}")).len(), 1);
    }

    #[test]
    fn code_comments_and_other_words_are_left_alone() {
        let call = format!("tokio::time::{CALL}x).await;");
        assert!(places_in("crates/a/src/b.rs", &format!("{call}\n#[cfg(test)]\nmod tests;\n")).is_empty());
        assert!(places_in("crates/a/tests/it.rs", &format!("/// {call}\nnever_{CALL})")).is_empty());
    }
}
