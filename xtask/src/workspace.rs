//! Where the workspace is and what is in it, as cargo says.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use tempfile::TempDir;

/// The workspace that the current directory belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("cargo metadata failed: run this inside the workspace")?;
        Ok(Self { metadata })
    }

    /// The directory of the root manifest.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// Every crate of the workspace, without what they depend on.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.metadata.packages
    }

    /// A path inside the workspace, relative to its root and with `/`.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }

    /// Where tasks put what they make, under the target directory.
    pub(crate) fn output(&self) -> PathBuf {
        self.metadata.target_directory.as_std_path().join("xtask")
    }

    /// A program of the workspace as the test suite has built it.
    pub(crate) fn tested_program(&self, name: &str) -> PathBuf {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.metadata.target_directory.as_std_path().join("debug").join(file)
    }

    /// A new directory under the target directory, removed when the value is dropped.
    ///
    /// Not in the system's temporary directory: that is often memory, and a benchmark needs gigabytes.
    pub(crate) fn scratch(&self, prefix: &str) -> Result<TempDir> {
        let parent = self.output();
        fs::create_dir_all(&parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a directory in {}", parent.display()))
    }
}
