//! Optimised builds.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::command;
use crate::workspace::Workspace;

/// Builds one program in release mode and says where it is.
pub(crate) fn build(workspace: &Workspace, package: &str, program: &str) -> Result<PathBuf> {
    eprintln!("build: {program} (release)");
    let arguments = [
        "build",
        "--release",
        "--package",
        package,
        "--bin",
        program,
        "--message-format",
        "json-render-diagnostics",
    ];
    let output = command::program("cargo", arguments, workspace.root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("building {program} failed");
    }
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.context("cargo's messages")?
            && artifact.target.name == program
            && let Some(executable) = artifact.executable
        {
            return Ok(executable.into_std_path_buf());
        }
    }
    bail!("cargo built no program named {program}")
}
