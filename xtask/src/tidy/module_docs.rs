//! Every file says first why it exists, and every library says it in a paragraph: that is where a reader starts.

use super::file::File;
use super::packages::Package;
use super::tree::Tree;
use super::violation::Violation;

/// A library's opening says more than its name does.
const LIBRARY_LINES: usize = 3;

/// Checks the first lines of every Rust file.
pub(crate) fn check(packages: &[Package], tree: &Tree) -> Vec<Violation> {
    let missing = tree.rust().filter(|file| doc_lines(file) == 0).map(|file| Violation {
        place: file.place(0),
        what: "the file doesn't begin with `//!`".into(),
        why: "every file says first why it exists",
        mend: "open it with a module doc",
    });
    let roots = packages.iter().filter_map(|package| tree.get(&format!("{}/src/lib.rs", package.folder())));
    let short = roots.filter(|file| (1..LIBRARY_LINES).contains(&doc_lines(file))).map(|file| Violation {
        place: file.place(0),
        what: format!("the crate doc has {} lines", doc_lines(file)),
        why: "a library's doc has at least 3 lines",
        mend: "say what the crate is for, what it never does, and where to start",
    });
    missing.chain(short).collect()
}

fn doc_lines(file: &File) -> usize {
    file.text.lines().take_while(|line| line.starts_with("//!")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations_of(path: &str, text: &str) -> Vec<String> {
        let package = Package {
            name: "a".into(),
            description: None,
            manifest_path: "crates/a/Cargo.toml".into(),
            dependencies: Vec::new(),
        };
        check(&[package], &Tree::of(&[(path, text)])).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn files_open_with_a_doc() {
        assert!(violations_of("crates/a/src/b.rs", "//! Why.\n\nfn b() {}\n").is_empty());
        assert_eq!(violations_of("crates/a/build.rs", "fn main() {}\n//! Late.\n").len(), 1);
        assert_eq!(violations_of("crates/a/tests/it.rs", "").len(), 1);
    }

    #[test]
    fn libraries_open_with_a_paragraph() {
        assert!(violations_of("crates/a/src/lib.rs", "//! One.\n//!\n//! Three.\n").is_empty());
        assert_eq!(violations_of("crates/a/src/lib.rs", "//! One.\n"), ["the crate doc has 1 lines"]);
        assert_eq!(violations_of("crates/a/src/lib.rs", "mod b;\n").len(), 1);
    }
}
