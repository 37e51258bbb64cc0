//! Links between the Markdown files of the tree: they break in silence when a file moves.
//!
//! Only links into the tree are followed, and only to the file: the web and headings are the reader's business.

use super::file::File;
use super::tree::Tree;
use super::violation::Violation;

/// Checks every relative link of every Markdown file.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let documents = tree.files().iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|file| broken_in(file, tree)).collect()
}

fn broken_in(file: &File, tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut in_fence = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        let prose = without_code(line);
        violations.extend(targets(&prose).filter(|target| is_broken(target, file, tree)).map(|target| {
            Violation {
                place: file.place(index),
                what: format!("the link to `{target}` leads nowhere"),
                why: "a link in the tree leads to a file in the tree",
                mend: "point it at where the file is now",
            }
        }));
    }
    violations
}

/// The line with its `code` spans dropped: what stands between backticks is never a link.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Targets of `[text](target)` and `[label]: target`.
fn targets(prose: &str) -> impl Iterator<Item = &str> {
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition =
        prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    inline.chain(definition)
}

fn is_broken(target: &str, file: &File, tree: &Tree) -> bool {
    let target = target.trim_start_matches('<').trim_end_matches('>');
    let path = target.split('#').next().unwrap_or(target);
    if path.is_empty() || path.contains(':') {
        return false;
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    resolve(folder, path).is_none_or(|path| !tree.contains(&path))
}

/// `path` as seen from `folder`, from the tree's root; `None` when it climbs out of the tree.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let base = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_links(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/a.md", text),
            ("docs/b.md", ""),
            ("README.md", ""),
            ("crates/x/src/lib.rs", ""),
        ]);
        check(&tree).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn links_into_the_tree_lead_somewhere() {
        assert!(
            broken_links("[b](b.md) and [r](../README.md#use) and [x](../crates/x/)\n[l]: ./b.md\n")
                .is_empty()
        );
        assert_eq!(broken_links("[b](b.md), [c](c.md)"), ["the link to `c.md` leads nowhere"]);
        assert_eq!(broken_links("[l]: ../c.md").len(), 1);
        assert_eq!(broken_links("[out](../../elsewhere.md)").len(), 1);
    }

    #[test]
    fn the_web_headings_and_code_are_left_alone() {
        assert!(broken_links("[w](https://example.com/c.md) [h](#use) <https://example.com>").is_empty());
        assert!(broken_links("`[c](c.md)`\n```\n[c](c.md)\n```\n").is_empty());
    }
}
