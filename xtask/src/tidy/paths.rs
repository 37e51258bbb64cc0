//! Paths of the machine something was written on: they mean nothing on any other, and say more than they should.
//!
//! The paths are written in two halves here, so that the checker may be held to its own rule.

use super::file::File;
use super::tree::Tree;
use super::violation::Violation;

const PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "target")];

/// Checks every line of every text file.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    tree.files().iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> impl Iterator<Item = Violation> {
    file.text.lines().enumerate().filter_map(|(index, line)| {
        let path = PATHS.iter().find(|path| starts_in(line, path))?;
        Some(Violation {
            place: file.place(index),
            what: format!("`{path}` is a path of one machine"),
            why: "the tree knows no machine",
            mend: "make it relative, or a value the caller gives",
        })
    })
}

/// Whether an absolute path beginning with `path` stands in `line`; `a/b/c` has no absolute path in it.
fn starts_in(line: &str, path: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || "._-~*})".contains(c);
    line.match_indices(path).any(|(start, _)| !line[..start].ends_with(continues))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found_and_relative_ones_are_not() {
        for path in PATHS {
            let text = format!("a\nsee \"{path}x\"\nand src{path}x\n");
            let places: Vec<String> = check(&Tree::of(&[("docs/a.md", &text)]))
                .into_iter()
                .map(|violation| violation.place)
                .collect();
            assert_eq!(places, ["docs/a.md:2"]);
        }
    }
}
