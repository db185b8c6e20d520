//! Builds of this workspace's programs.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::command;
use crate::workspace::Workspace;

/// One program to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// The crate that it is in.
    pub(crate) package: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    /// The crate's features that it needs.
    pub(crate) features: &'static [&'static str],
    /// Optimised as a whole, or as tests are: their dependencies are optimised, our crates are not.
    pub(crate) release: bool,
}

impl Program {
    /// The command line of users, optimised.
    pub(crate) const SPILLWAY: Self =
        Self { package: "spillway-cli", name: "spillway", features: &[], release: true };

    /// Builds it and says where it is.
    pub(crate) fn build(self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { package, name, features, release } = self;
        eprintln!("build: {name}{}", if release { " (release)" } else { "" });
        let features = features.join(",");
        let mut arguments = vec!["build", "--package", package, "--bin", name];
        arguments.extend(["--message-format", "json-render-diagnostics"]);
        if release {
            arguments.push("--release");
        }
        if !features.is_empty() {
            arguments.extend(["--features", &features]);
        }
        let output = command::program("cargo", &arguments, workspace.root())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            bail!("building {name} failed");
        }
        for message in Message::parse_stream(output.stdout.as_slice()) {
            if let Message::CompilerArtifact(artifact) = message.context("cargo's messages")?
                && artifact.target.name == name
                && let Some(executable) = artifact.executable
            {
                return Ok(executable.into_std_path_buf());
            }
        }
        bail!("cargo built no program named {name}")
    }
}
