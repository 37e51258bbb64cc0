//! What every `Cargo.toml` owes its reader: a description, the workspace's lints, and dependencies in order.

use super::file::File;
use super::packages::Package;
use super::tree::Tree;
use super::violation::Violation;

/// Checks every crate's manifest, and the order of dependencies in the root's too.
pub(crate) fn check(packages: &[Package], tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        if package.description.as_deref().is_none_or(|text| text.trim().is_empty()) {
            violations.push(Violation {
                place: package.manifest_path.clone(),
                what: format!("{} has no description", package.name),
                why: "every crate says in one line what it is for",
                mend: "add `description = \"...\"` under [package]",
            });
        }
        if tree.get(&package.manifest_path).is_some_and(|manifest| !inherits_lints(&manifest.text)) {
            violations.push(Violation {
                place: package.manifest_path.clone(),
                what: format!("{} doesn't inherit the workspace's lints", package.name),
                why: "one set of lints for all",
                mend: "add `[lints]` with `workspace = true`",
            });
        }
    }
    let manifests = tree.files().iter().filter(|file| file.path.split('/').next_back() == Some("Cargo.toml"));
    violations.extend(manifests.flat_map(unsorted));
    violations
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
    lines.find(|line| !line.trim().is_empty()).is_some_and(|line| line.replace(' ', "") == "workspace=true")
}

/// Names out of order within a group: the lines of one dependency table up to a blank line.
///
/// A group of path dependencies only may be in any order: the root lists our own crates as they are best read.
fn unsorted(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut group: Vec<(usize, &str, bool)> = Vec::new();
    let mut in_table = false;
    // The blank line at the end closes the last group.
    for (index, line) in file.text.lines().chain([""]).enumerate() {
        let closes = line.trim().is_empty() || line.starts_with('[');
        if closes {
            violations.extend(first_unsorted(file, &group));
            group.clear();
        }
        if line.starts_with('[') {
            in_table = line.trim_end().ends_with("dependencies]");
        } else if in_table && let Some(name) = dependency_name(line) {
            group.push((index, name, line.contains("path =")));
        }
    }
    violations
}

fn first_unsorted(file: &File, group: &[(usize, &str, bool)]) -> Option<Violation> {
    if group.iter().all(|&(_, _, is_path)| is_path) {
        return None;
    }
    let pair = group.windows(2).find(|pair| pair[0].1 > pair[1].1)?;
    Some(Violation {
        place: file.place(pair[1].0),
        what: format!("{} comes after {}", pair[1].1, pair[0].1),
        why: "dependencies are sorted within a group",
        mend: "sort them, or part the groups with a blank line",
    })
}

/// The key of `name = ...` or `name.workspace = ...`; lines inside a value are indented or begin with a bracket.
fn dependency_name(line: &str) -> Option<&str> {
    let name = line.split(['=', '.']).next()?.trim_end();
    let is_key = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (is_key && line.contains('=')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations_of(manifest: &str, description: Option<&str>) -> Vec<String> {
        let package = Package {
            name: "a".into(),
            description: description.map(Into::into),
            manifest_path: "crates/a/Cargo.toml".into(),
            dependencies: Vec::new(),
        };
        let tree = Tree::of(&[("crates/a/Cargo.toml", manifest)]);
        check(&[package], &tree).into_iter().map(|violation| violation.what).collect()
    }

    const LINTS: &str = "[lints]\nworkspace = true\n\n";

    #[test]
    fn a_crate_has_a_description_and_lints() {
        assert!(violations_of(LINTS, Some("Why.")).is_empty());
        assert_eq!(violations_of(LINTS, None), ["a has no description"]);
        assert_eq!(violations_of("[lints.rust]\nx = \"warn\"\n", Some("Why.")).len(), 1);
    }

    #[test]
    fn dependencies_are_sorted_within_a_group() {
        let table = |lines: &str| violations_of(&format!("{LINTS}[dev-dependencies]\n{lines}"), Some("Why."));
        assert!(table("bytes = \"1\"\n# Why.\nfutures = { version = \"0.3\", features = [\n  \"a\",\n] }\ntokio.workspace = true\n").is_empty());
        assert_eq!(table("tokio.workspace = true\nbytes = \"1\""), ["bytes comes after tokio"]);
        assert!(table("tokio = \"1\"\n\nbytes = \"1\"\n").is_empty());
        assert!(table("z = { path = \"z\" }\na = { path = \"a\" }\n").is_empty());
        assert!(table("[features]\nz = []\na = []\n").is_empty());
    }

    #[test]
    fn target_tables_count() {
        let manifest =
            format!("{LINTS}[target.'cfg(unix)'.dependencies]\nz = \"1\"\na = \"1\"\n[package]\nb = \"1\"\n");
        assert_eq!(violations_of(&manifest, Some("Why.")), ["a comes after z"]);
    }
}
