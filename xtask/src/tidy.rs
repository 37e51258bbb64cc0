//! `cargo xtask tidy`: the house rules that no compiler, formatter or linter knows.
//!
//! Every check is a pure function from what was read (the [`Tree`], the [`Package`]s) to [`Violation`]s, so each is
//! tested on a few lines of text; only [`run`] and the two readers touch the machine.
//! All checks run and all violations are printed, one line each: mending is done from a list, not one at a time.

mod file;
mod packages;
mod tree;
mod violation;

mod arrows;
mod graph;
mod manifests;

mod leftovers;
mod links;
mod module_docs;
mod paths;
mod purity;
mod sizes;
mod sleeps;

use anyhow::Result;

use packages::Package;
use tree::Tree;
use violation::Violation;

/// Runs every check over the whole workspace; `Ok(false)` when there is a violation.
///
/// # Errors
///
/// When cargo and git can't tell what the workspace is made of.
pub(crate) fn run() -> Result<bool> {
    let (root, packages) = packages::read()?;
    let tree = Tree::read(&root)?;
    let violations = check(&packages, &tree);
    for violation in &violations {
        println!("{violation}");
    }
    println!(
        "tidy: {} crates, {} files, {} violations",
        packages.len(),
        tree.files().len(),
        violations.len()
    );
    Ok(violations.is_empty())
}

/// Every check there is, the shape of the whole before the words of a file.
fn check(packages: &[Package], tree: &Tree) -> Vec<Violation> {
    let mut violations = graph::check(packages);
    violations.extend(manifests::check(packages, tree));
    violations.extend(purity::check(tree));
    violations.extend(sizes::check(tree));
    violations.extend(module_docs::check(packages, tree));
    violations.extend(leftovers::check(tree));
    violations.extend(sleeps::check(tree));
    violations.extend(links::check(tree));
    violations.extend(paths::check(tree));
    violations
}
