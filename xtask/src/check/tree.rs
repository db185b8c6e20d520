//! The facts that the rules look at.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::DependencyKind;

use crate::workspace::Workspace;

/// Everything that the rules may know about the work tree.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Every text file that is tracked, or new and not ignored, by path.
    pub(crate) files: Vec<SourceFile>,
    /// The workspace's crates, as cargo understands them.
    pub(crate) crates: Vec<CrateFacts>,
}

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    /// The whole content.
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether this is Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }
}

/// One crate of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct CrateFacts {
    /// The package's name.
    pub(crate) name: String,
    /// The manifest, relative to the root.
    pub(crate) manifest: String,
    /// `2021`, `2024`, ….
    pub(crate) edition: String,
    /// Its direct dependencies, development ones too.
    pub(crate) dependencies: Vec<CrateDependency>,
}

/// One direct dependency of a crate.
#[derive(Clone, Debug)]
pub(crate) struct CrateDependency {
    /// The package's name, whatever it is renamed to.
    pub(crate) name: String,
    /// Normal, build or development.
    pub(crate) kind: DependencyKind,
    /// Whether it is a crate of this workspace.
    pub(crate) in_workspace: bool,
}

impl Tree {
    /// Reads the facts of the real work tree.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        Ok(Self { files: read_files(workspace.root())?, crates: read_crates(workspace) })
    }

    /// The file at `path`, if the tree has it.
    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Files that git tracks, and those that it would track if they were added now.
fn read_files(root: &Path) -> Result<Vec<SourceFile>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git is needed to list the tree")?;
    if !listing.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&listing.stderr).trim());
    }
    let paths: BTreeSet<String> = listing
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    let mut files = Vec::new();
    for path in paths {
        let on_disk = root.join(&path);
        // A file that is deleted but not yet committed so, a link and a directory have no text of their own.
        if !fs::symlink_metadata(&on_disk).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = fs::read(&on_disk).with_context(|| format!("cannot read {path}"))?;
        // Golden bytes and the like are not text.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path, text });
        }
    }
    Ok(files)
}

fn read_crates(workspace: &Workspace) -> Vec<CrateFacts> {
    let packages = workspace.packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    packages
        .iter()
        .map(|package| CrateFacts {
            name: package.name.to_string(),
            manifest: workspace.relative(package.manifest_path.as_std_path()),
            edition: package.edition.to_string(),
            dependencies: package
                .dependencies
                .iter()
                .map(|dependency| CrateDependency {
                    name: dependency.name.clone(),
                    kind: dependency.kind,
                    in_workspace: dependency.path.is_some()
                        && names.contains(dependency.name.as_str()),
                })
                .collect(),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod testing {
    //! Small trees for the tests of the rules.

    use super::{CrateDependency, CrateFacts, DependencyKind, SourceFile, Tree};

    /// A tree of files only.
    pub(crate) fn files(files: &[(&str, &str)]) -> Tree {
        let files = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        Tree { files, crates: Vec::new() }
    }

    /// A crate of edition 2024 with normal dependencies; the names `spillway-…` are in the workspace.
    pub(crate) fn krate(name: &str, dependencies: &[&str]) -> CrateFacts {
        let dependencies =
            dependencies.iter().map(|name| dependency(name, DependencyKind::Normal)).collect();
        CrateFacts {
            name: name.to_owned(),
            manifest: format!("crates/{name}/Cargo.toml"),
            edition: "2024".to_owned(),
            dependencies,
        }
    }

    /// One dependency of a kind.
    pub(crate) fn dependency(name: &str, kind: DependencyKind) -> CrateDependency {
        CrateDependency { name: name.to_owned(), kind, in_workspace: name.starts_with("spillway-") }
    }
}
