//! The workspace as cargo sees it: its crates, and whom each names as a dependency.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// The name in its manifest.
    pub(crate) name: String,
    /// The one-line description, absent or empty when nobody wrote it.
    pub(crate) description: Option<String>,
    /// The manifest's path, from the repository's root once [`read`] has returned it.
    pub(crate) manifest_path: String,
    /// Every dependency of every kind, optional and target-specific ones included.
    pub(crate) dependencies: Vec<Dependency>,
}

impl Package {
    /// The crate's folder from the repository's root, without a trailing slash.
    pub(crate) fn folder(&self) -> &str {
        self.manifest_path.strip_suffix("/Cargo.toml").unwrap_or("")
    }
}

/// One entry of a dependency table.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The real package name, whatever the manifest renames it to.
    pub(crate) name: String,
    /// `None` for a normal dependency, as cargo writes it; else `"dev"` or `"build"`.
    pub(crate) kind: Option<String>,
}

impl Dependency {
    /// Whether only tests, examples and benches see it.
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// Asks cargo for the workspace: its root and its crates.
///
/// # Errors
///
/// When cargo can't be run or can't read the manifests.
pub(crate) fn read() -> Result<(PathBuf, Vec<Package>)> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo did not start: is it on the PATH?")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    parse(&output.stdout).context("cargo metadata printed something unexpected")
}

fn parse(json: &[u8]) -> Result<(PathBuf, Vec<Package>)> {
    let mut metadata: Metadata = serde_json::from_slice(json)?;
    let prefix = format!("{}/", metadata.workspace_root);
    for package in &mut metadata.packages {
        if let Some(relative) = package.manifest_path.strip_prefix(&prefix) {
            package.manifest_path = relative.to_owned();
        }
    }
    Ok((metadata.workspace_root.into(), metadata.packages))
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_kinds_and_relative_paths() {
        let json = br#"{"workspace_root": "/r", "version": 1, "packages": [{
            "name": "a", "description": null, "manifest_path": "/r/crates/a/Cargo.toml", "dependencies": [
                {"name": "b", "rename": "bee", "kind": null}, {"name": "c", "kind": "dev"}]}]}"#;
        let (root, packages) = parse(json).unwrap();
        assert_eq!(root, PathBuf::from("/r"));
        assert_eq!(packages[0].folder(), "crates/a");
        assert_eq!(packages[0].dependencies[0].name, "b");
        assert!(!packages[0].dependencies[0].is_dev());
        assert!(packages[0].dependencies[1].is_dev());
    }
}
