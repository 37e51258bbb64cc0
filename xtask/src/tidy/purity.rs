//! The pure crates get time, randomness and bytes as arguments, which is what makes every case of theirs testable.
//!
//! Their third-party budget (see `arrows`) keeps out what others bring; this keeps out what `std` brings.

use super::file::{File, code_of, has_word};
use super::tree::Tree;
use super::violation::Violation;

const PURE: &[&str] = &["crates/tunnel-protocol/src/", "crates/tunnel-router/src/"];

const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
];

/// Checks the code of the pure crates, tests excepted.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let is_pure = |file: &&File| PURE.iter().any(|folder| file.path.starts_with(folder));
    tree.rust().filter(is_pure).flat_map(check_file).collect()
}

fn check_file(file: &File) -> impl Iterator<Item = Violation> {
    file.text.lines().take(file.first_test_line()).enumerate().filter_map(|(index, line)| {
        let name = IMPURE.iter().find(|name| has_word(code_of(line), name))?;
        Some(Violation {
            place: file.place(index),
            what: format!("`{name}` in a pure crate"),
            why: "protocol and router use no sockets, clocks, randomness or files",
            mend: "take the value as an argument",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_in(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|violation| violation.place).collect()
    }

    #[test]
    fn clocks_and_files_are_found_in_pure_crates_only() {
        let text = "//! Never calls Instant::now.\nlet now = std::time::Instant::now();\nuse std::fs;\n";
        let path = "crates/tunnel-protocol/src/a.rs";
        assert_eq!(places_in(path, text), [format!("{path}:2"), format!("{path}:3")]);
        assert!(places_in("crates/tunnel-io/src/a.rs", text).is_empty());
    }

    #[test]
    fn addresses_and_tests_are_fine() {
        let text = "use std::net::SocketAddr;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(places_in("crates/tunnel-router/src/a.rs", text).is_empty());
        assert!(places_in("crates/tunnel-router/src/a/tests.rs", "use std::fs;").is_empty());
    }
}
