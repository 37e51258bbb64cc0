//! One text file, and what its path and lines say about it without parsing it.

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the repository's root, with forward slashes.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

impl File {
    /// Whether it is Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is test code: a `tests.rs`, anything in a `tests` folder, and the test kit.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.contains("tunnel-testkit/")
    }

    /// The index of the first line of test code; the number of lines where there is none.
    ///
    /// Inline tests come last in a file, so they reach from `#[cfg(test)] mod ... {` to its end.
    pub(crate) fn first_test_line(&self) -> usize {
        if self.is_test() {
            return 0;
        }
        let lines: Vec<&str> = self.text.lines().map(str::trim_end).collect();
        let opens = |pair: &[&str]| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        };
        lines.windows(2).position(opens).unwrap_or(lines.len())
    }

    /// `path:line`, with `index` counted from 0.
    pub(crate) fn place(&self, index: usize) -> String {
        format!("{}:{}", self.path, index + 1)
    }
}

/// The line without its comment. A `//` in a string ends it too, which no check here minds.
pub(crate) fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// Whether `word` stands in `line` on its own: where it begins or ends with a letter, no further letter touches it.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let joined_before = word.starts_with(is_letter) && line[..start].ends_with(is_letter);
        let joined_after = word.ends_with(is_letter) && line[start + word.len()..].starts_with(is_letter);
        !joined_before && !joined_after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        assert!(file("crates/a/src/b/tests.rs", "").is_test());
        assert!(file("crates/a/tests/it/main.rs", "").is_test());
        assert!(file("crates/tunnel-testkit/src/lib.rs", "").is_test());
        assert!(!file("crates/a/src/contests.rs", "").is_test());
    }

    #[test]
    fn inline_tests_reach_from_their_module_to_the_end() {
        let inline = "a\n#[cfg(test)]\nfn helper() {}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(file("crates/a/src/b.rs", inline).first_test_line(), 3);
        assert_eq!(file("crates/a/src/b.rs", "a\n#[cfg(test)]\nmod tests;\n").first_test_line(), 3);
        assert_eq!(file("crates/a/src/tests.rs", "a\n").first_test_line(), 0);
    }

    #[test]
    fn a_word_stands_on_its_own() {
        assert!(has_word("std::fs::read", "fs::"));
        assert!(!has_word("my_fs::read", "fs::"));
        assert!(!has_word("std::fsync", "std::fs"));
    }
}
