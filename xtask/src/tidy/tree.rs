//! The files of the repository, read once for all checks.
//!
//! Git says which they are: tracked ones and new ones, but nothing ignored, so a stray build folder is never judged
//! and a violation is seen before it is committed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::file::File;

/// Every text file of the repository, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<File>,
    /// Text or not: what a link may point at.
    paths: Vec<String>,
}

impl Tree {
    /// Reads the working tree at `root`.
    ///
    /// # Errors
    ///
    /// When `root` is no git checkout or a file can't be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
            .current_dir(root)
            .output()
            .context("git did not start: is it on the PATH?")?;
        ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
        let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;

        let mut tree = Self { files: Vec::new(), paths: Vec::new() };
        for path in listing.split_terminator('\0') {
            let on_disk = root.join(path);
            // Deleted but not yet committed, or a link to a folder.
            if !on_disk.is_file() {
                continue;
            }
            let bytes = std::fs::read(&on_disk).with_context(|| format!("reading {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                tree.files.push(File { path: path.to_owned(), text });
            }
            tree.paths.push(path.to_owned());
        }
        Ok(tree)
    }

    /// A tree of the given files, for tests of the checks.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files: Vec<File> =
            files.iter().map(|&(path, text)| File { path: path.into(), text: text.into() }).collect();
        Self { paths: files.iter().map(|file| file.path.clone()).collect(), files }
    }

    /// Every text file.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// Every Rust file, wherever it is.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The file at exactly this path.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether `path` is a file of the tree or a folder with one in it; the empty path is the root.
    pub(crate) fn contains(&self, path: &str) -> bool {
        path.is_empty()
            || self.paths.iter().any(|known| {
                known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_files_and_folders_but_not_prefixes() {
        let tree = Tree::of(&[("docs/guide.md", "")]);
        assert!(tree.contains("docs/guide.md"));
        assert!(tree.contains("docs"));
        assert!(tree.contains(""));
        assert!(!tree.contains("docs/guide"));
        assert!(!tree.contains("doc"));
    }
}
