//! What a fresh machine needs beside Rust: Node.js and a C compiler are asked for, npm tools installed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// Inside `node_modules`, so that it goes with what it vouches for: `npm ci` removes both first.
const STAMP: &str = "tools/node_modules/.installed-lock.json";
const LOCK: &str = "tools/package-lock.json";
/// Programs that count as a C compiler.
const C_COMPILERS: &[&str] = &["cc", "gcc", "clang"];

/// Checks Node.js and the C compiler, and runs `npm ci` in `tools/` if the lock file is another than the
/// one that was installed last.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let missing: Vec<String> =
        [check_node(root), check_c_compiler(root)].into_iter().filter_map(Result::err).collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    install_tools(root)
}

fn install_tools(root: &Path) -> Result<()> {
    let lock = fs::read(root.join(LOCK)).with_context(|| format!("cannot read {LOCK}"))?;
    let stamp = root.join(STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        eprintln!("setup: the npm tools are installed");
        return Ok(());
    }
    eprintln!("setup: npm ci in tools/");
    command::run(&mut command::program("npm", ["ci"], &root.join("tools")))?;
    fs::write(&stamp, lock).with_context(|| format!("cannot write {STAMP}"))
}

fn check_node(root: &Path) -> Result<(), String> {
    let needed = fs::read_to_string(root.join("tools/package.json"))
        .ok()
        .and_then(|text| minimum_node(&text))
        .ok_or_else(|| "tools/package.json lacks `engines.node`, such as \">=20\"".to_owned())?;
    let wanted = format!("Node.js {needed} or later with npm is needed (see nodejs.org)");
    let found = command::answer("node", &["--version"], root)
        .ok_or_else(|| format!("{wanted}: `node` was not found"))?;
    if major(&found).is_none_or(|major| major < needed) {
        return Err(format!("{wanted}: `node` is {found}"));
    }
    command::answer("npm", &["--version"], root)
        .map(drop)
        .ok_or_else(|| format!("{wanted}: `npm` was not found"))
}

fn check_c_compiler(root: &Path) -> Result<(), String> {
    let found =
        C_COMPILERS.iter().any(|name| command::answer(name, &["--version"], root).is_some());
    found.then_some(()).ok_or_else(|| {
        "a C compiler is needed (for instance the packages build-essential, gcc or clang): \
         none of cc, gcc, clang was found"
            .to_owned()
    })
}

/// The major version in `"engines": { "node": ">=20" }`.
fn minimum_node(package_json: &str) -> Option<u32> {
    let package: serde_json::Value = serde_json::from_str(package_json).ok()?;
    major(package["engines"]["node"].as_str()?.strip_prefix(">=")?)
}

/// 20 of `v20.11.1`.
fn major(version: &str) -> Option<u32> {
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.11.1\n"), Some(20));
        assert_eq!(major("18"), Some(18));
        assert_eq!(major("system"), None);
        assert_eq!(minimum_node(r#"{"engines":{"node":">=20"}}"#), Some(20));
        assert_eq!(minimum_node(r#"{"engines":{"node":"^20"}}"#), None);
        assert_eq!(minimum_node("{}"), None);
    }

    #[test]
    fn a_current_installation_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("tools/node_modules")).unwrap();
        fs::write(root.path().join(LOCK), "lock").unwrap();
        fs::write(root.path().join(STAMP), "lock").unwrap();
        // There is no package.json: npm would fail.
        install_tools(root.path()).unwrap();
    }
}
