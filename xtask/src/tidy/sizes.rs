//! How long files may be: a file is read in one go or not at all, and it grows a line at a time, so somebody must count.

use super::file::File;
use super::tree::Tree;
use super::violation::Violation;

/// No file is longer: past this it holds two ideas.
const LONGEST: usize = 600;
/// Nine files of ten are no longer than this; whole-file tests are left out, they are lists rather than prose.
const LONG: usize = 400;
/// Half of all files are no longer than this: three screens.
const MEDIAN: usize = 150;

const SPLIT: &str = "split it by idea, or move its tests to a tests.rs beside it";

/// Checks every Rust file of the workspace, each alone and all together.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let files: Vec<&File> = tree.rust().filter(|file| is_counted(&file.path)).collect();
    let mut violations: Vec<Violation> = files
        .iter()
        .filter(|file| lines(file) > LONGEST)
        .map(|file| Violation {
            place: file.path.clone(),
            what: format!("{} lines", lines(file)),
            why: "no file is over 600 lines",
            mend: SPLIT,
        })
        .collect();
    violations.extend(median_fault(&files));
    violations.extend(share_fault(&files));
    violations
}

fn is_counted(path: &str) -> bool {
    ["crates/", "examples/", "xtask/"].iter().any(|folder| path.starts_with(folder))
}

fn lines(file: &File) -> usize {
    file.text.lines().count()
}

fn median_fault(files: &[&File]) -> Option<Violation> {
    let mut sizes: Vec<usize> = files.iter().map(|file| lines(file)).collect();
    sizes.sort_unstable();
    let median = *sizes.get(sizes.len() / 2)?;
    (median > MEDIAN).then(|| Violation {
        place: "crates, examples, xtask".into(),
        what: format!("the median file has {median} lines"),
        why: "the median file has at most 150 lines",
        mend: SPLIT,
    })
}

fn share_fault(files: &[&File]) -> Option<Violation> {
    let prose: Vec<&&File> = files.iter().filter(|file| !file.is_test()).collect();
    let mut long: Vec<&&&File> = prose.iter().filter(|file| lines(file) > LONG).collect();
    long.sort_by_key(|file| std::cmp::Reverse(lines(file)));
    (long.len() * 10 > prose.len()).then(|| Violation {
        place: long.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", "),
        what: format!("{} of {} files are over {LONG} lines", long.len(), prose.len()),
        why: "nine files of ten have at most 400 lines",
        mend: SPLIT,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations_of(sizes: &[(&str, usize)]) -> Vec<String> {
        let texts: Vec<(&str, String)> =
            sizes.iter().map(|&(path, lines)| (path, "x\n".repeat(lines))).collect();
        let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
        check(&Tree::of(&files)).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn bounds_themselves_are_allowed() {
        assert!(violations_of(&[("crates/a/src/lib.rs", 150)]).is_empty());
        assert!(
            violations_of(&[("crates/a/src/tests.rs", 600), ("crates/a/src/b.rs", 9), ("crates/a/c.rs", 9)])
                .is_empty()
        );
    }

    #[test]
    fn one_file_too_long() {
        let sizes = [("crates/a/src/tests.rs", 601), ("crates/a/src/b.rs", 9), ("xtask/src/main.rs", 9)];
        assert_eq!(violations_of(&sizes), ["601 lines"]);
    }

    #[test]
    fn median_counts_every_file() {
        assert_eq!(violations_of(&[("crates/a/src/lib.rs", 151)]), ["the median file has 151 lines"]);
    }

    #[test]
    fn more_than_a_tenth_long() {
        let mut sizes = vec![("crates/a/src/b.rs", 401)];
        sizes.extend(std::iter::repeat_n(("crates/a/src/c.rs", 10), 8));
        assert_eq!(violations_of(&sizes), ["1 of 9 files are over 400 lines"]);
        sizes.push(("crates/a/src/d.rs", 10));
        assert!(violations_of(&sizes).is_empty());
    }

    #[test]
    fn files_outside_the_workspace_are_not_counted() {
        assert!(violations_of(&[("fuzz/fuzz_targets/a.rs", 700)]).is_empty());
    }
}
