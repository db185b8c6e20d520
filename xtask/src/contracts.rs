//! The contracts: their tests, and the artifacts that are committed.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{command, setup};

/// The wrapper that npm installs, seen from `contracts/`.
const FORGE: &str = "../tools/node_modules/@foundry-rs/forge/bin.mjs";
/// What decides how sources are compiled beside the sources themselves: the settings, the way to the
/// compiler, and the versions of forge, of the compiler and of the libraries.
const COMPILER: &[&str] =
    &["contracts/foundry.toml", "contracts/solc-shim.js", "tools/package-lock.json"];

/// `forge fmt --check` and `forge test`, without the network.
///
/// What was compiled is kept below the target directory, which outlives a clone: cold it takes minutes.
/// Forge compiles every source whose content has changed, and all that import it.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let directory = workspace.root().join("contracts");
    command::run(&mut command::program("node", [FORGE, "fmt", "--check"], &directory))?;
    let kept = kept(workspace.root(), &workspace.output().join("forge"))?;
    fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
    // Another clone with the same target directory and other sources must not write in between.
    let lock = File::create(kept.join("lock")).context("cannot create a lock")?;
    lock.lock().context("cannot lock what forge keeps")?;
    command::run(&mut forge_test(&directory, &kept))
}

/// Where what this compiler makes is kept.
fn kept(root: &Path, parent: &Path) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for name in COMPILER {
        let content = fs::read(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        content.hash(&mut hasher);
    }
    Ok(parent.join(format!("{:016x}", hasher.finish())))
}

fn forge_test(directory: &Path, kept: &Path) -> Command {
    let mut command = command::program("node", [FORGE, "test", "--offline"], directory);
    command.env("FOUNDRY_OUT", kept.join("out")).env("FOUNDRY_CACHE_PATH", kept.join("cache"));
    command
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_compiler_made_is_not_looked_at() {
        let root = tempfile::tempdir().unwrap();
        for name in COMPILER {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1").unwrap();
        }
        let kept = || kept(root.path(), Path::new("/target")).unwrap();
        let before = kept();
        assert_eq!((kept(), before.parent()), (before.clone(), Some(Path::new("/target"))));
        for name in COMPILER {
            fs::write(root.path().join(name), "2").unwrap();
            assert_ne!(kept(), before, "{name}");
            fs::write(root.path().join(name), "1").unwrap();
        }
    }

    #[test]
    fn forge_keeps_what_it_makes_outside_the_clone() {
        let command = forge_test(Path::new("/clone/contracts"), Path::new("/target/forge"));
        let value = |name: &str| {
            let mut found = command.get_envs().filter(|(key, _)| *key == name);
            found.next().and_then(|(_, value)| value).map(Path::new)
        };
        assert_eq!(value("FOUNDRY_OUT"), Some(Path::new("/target/forge/out")));
        assert_eq!(value("FOUNDRY_CACHE_PATH"), Some(Path::new("/target/forge/cache")));
    }
}
