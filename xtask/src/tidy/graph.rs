//! Holds the crates to the [`arrows`](super::arrows) table.
//!
//! Normal and build dependencies are held to the row. Dev-dependencies may go anywhere but to a crate nothing may
//! name: a test may well need the other side of the wire.

use super::arrows::{Budget, RESERVED, ROWS, Row, TEST_KIT, TOPS};
use super::packages::{Dependency, Package};
use super::violation::Violation;

/// Checks every dependency of every crate.
pub(crate) fn check(packages: &[Package]) -> Vec<Violation> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in packages {
        let Some(row) = ROWS.iter().find(|row| row.name == package.name) else {
            violations.push(Violation {
                place: package.manifest_path.clone(),
                what: format!("{} has no row in the table of arrows", package.name),
                why: "every crate says whom it may name",
                mend: "add its row to xtask/src/tidy/arrows.rs",
            });
            continue;
        };
        for dependency in &package.dependencies {
            let fault = if ours.contains(&dependency.name.as_str()) {
                fault_with_ours(row, dependency)
            } else {
                fault_with_third_party(row, dependency)
            };
            violations.extend(fault.map(|(why, mend)| Violation {
                place: package.manifest_path.clone(),
                what: format!("{} names {}", package.name, dependency.name),
                why,
                mend,
            }));
        }
    }
    violations
}

/// Why a dependency is wrong, and what to do.
type Fault = (&'static str, &'static str);

fn fault_with_ours(row: &Row, dependency: &Dependency) -> Option<Fault> {
    let name = dependency.name.as_str();
    if TOPS.contains(&name) {
        return Some((
            "nothing depends on the binary, the examples or xtask",
            "move what is shared into a library crate",
        ));
    }
    if dependency.is_dev() {
        return None;
    }
    if name == TEST_KIT {
        return Some(("the test kit never ships", "make it a dev-dependency"));
    }
    (!row.ours.contains(&name)).then_some((
        row.why,
        "move the code down a layer, or pass what is needed in; an arrow only goes down",
    ))
}

fn fault_with_third_party(row: &Row, dependency: &Dependency) -> Option<Fault> {
    if dependency.is_dev() {
        return None;
    }
    let name = dependency.name.as_str();
    let reserved = RESERVED.iter().find(|reserved| reserved.names.contains(&name));
    if let Some(reserved) = reserved.filter(|reserved| !reserved.owners.contains(&row.name)) {
        return Some((reserved.why, "use what the owning crate offers, or add it there"));
    }
    match row.budget {
        Budget::Only(names) if !names.contains(&name) => {
            Some((row.why, "do without, or move the code up; the budget is in xtask/src/tidy/arrows.rs"))
        }
        Budget::Only(_) | Budget::Unreserved => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace where `name` has one dependency of the given kind.
    fn violations_of(name: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let package = |name: &str, dependencies| Package {
            name: name.into(),
            description: None,
            manifest_path: format!("crates/{name}/Cargo.toml"),
            dependencies,
        };
        let dependency = Dependency { name: dependency.into(), kind: kind.map(Into::into) };
        let mut packages = vec![package(name, vec![dependency])];
        packages.extend(ROWS.iter().filter(|row| row.name != name).map(|row| package(row.name, Vec::new())));
        check(&packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_down_are_fine_and_arrows_up_or_sideways_are_not() {
        assert!(violations_of("tunnel-server", "tunnel-mux", None).is_empty());
        assert_eq!(violations_of("tunnel-mux", "tunnel-protocol", None).len(), 1);
        assert_eq!(violations_of("tunnel-client", "tunnel-server", None).len(), 1);
        assert_eq!(violations_of("tunnel-server", "tunnel-client", Some("build")).len(), 1);
        assert_eq!(violations_of("tunnel-cli", "tunnel", Some("dev")).len(), 1);
    }

    #[test]
    fn the_line_says_what_where_why_and_what_to_do() {
        let violations = violations_of("tunnel-client", "tunnel-router", None);
        let [line] = violations.as_slice() else { panic!("one line, not {violations:?}") };
        assert!(line.starts_with(
            "crates/tunnel-client/Cargo.toml: tunnel-client names tunnel-router (rule: client and"
        ));
        assert!(line.ends_with("an arrow only goes down"));
    }

    #[test]
    fn the_test_kit_is_for_tests() {
        assert!(violations_of("tunnel-client", "tunnel-testkit", Some("dev")).is_empty());
        assert_eq!(violations_of("tunnel-client", "tunnel-testkit", None).len(), 1);
        assert_eq!(violations_of("tunnel", "tunnel-testkit", None).len(), 1);
    }

    #[test]
    fn third_party_crates_stay_with_their_owner_and_within_budget() {
        assert!(violations_of("tunnel-mux", "yamux", None).is_empty());
        assert_eq!(violations_of("tunnel-transport", "yamux", None).len(), 1);
        assert_eq!(violations_of("tunnel-server", "rustls", None).len(), 1);
        assert_eq!(violations_of("tunnel-cli", "anyhow", None).len(), 1);
        assert_eq!(violations_of("tunnel-protocol", "tokio", None).len(), 1);
        assert!(violations_of("tunnel-protocol", "tokio", Some("dev")).is_empty());
        assert!(violations_of("tunnel-client", "axum", None).is_empty());
    }

    #[test]
    fn a_crate_without_a_row_is_a_violation() {
        assert_eq!(violations_of("tunnel-common", "bytes", None).len(), 1);
    }

    #[test]
    fn the_table_itself_has_no_cycle() {
        // Rows are bottom layer first, so an allowed arrow must point at an earlier row.
        for (index, row) in ROWS.iter().enumerate() {
            for target in row.ours {
                assert!(
                    ROWS[..index].iter().any(|earlier| earlier.name == *target),
                    "{} -> {target}",
                    row.name
                );
            }
        }
    }
}
