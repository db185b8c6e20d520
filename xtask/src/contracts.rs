//! The contracts: their tests, and the artifacts that are committed.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{command, setup};

/// The wrapper that npm installs, seen from `contracts/`.
const FORGE: &str = "../tools/node_modules/@foundry-rs/forge/bin.mjs";

/// `forge fmt --check` and `forge test`, without the network.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let directory = workspace.root().join("contracts");
    command::run(&mut command::program("node", [FORGE, "fmt", "--check"], &directory))?;
    command::run(&mut command::program("node", [FORGE, "test", "--offline"], &directory))
}

/// Fails unless the sources give the committed artifacts, byte for byte.
pub(crate) fn check_artifacts(workspace: &Workspace) -> Result<()> {
    artifacts(workspace, &["--check"])
}

/// Writes the artifacts anew.
pub(crate) fn rebuild(workspace: &Workspace) -> Result<()> {
    setup::run(workspace)?;
    artifacts(workspace, &[])
}

fn artifacts(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let arguments = ["contracts/artifacts.mjs"].iter().chain(arguments);
    command::run(&mut command::program("node", arguments, workspace.root()))
}
