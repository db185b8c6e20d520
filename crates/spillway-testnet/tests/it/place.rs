//! Where a network of a test lives.

use std::path::{Path, PathBuf};

use spillway_testnet::{Anvil, FindOptions, TestnetOptions};

/// Anvil from `tools/node_modules` of this workspace.
pub(crate) fn anvil() -> PathBuf {
    let start_dir = Some(Path::new(env!("CARGO_MANIFEST_DIR")).to_owned());
    Anvil::find(&FindOptions { start_dir, ..FindOptions::default() }).unwrap()
}

/// A small network below `dir`.
pub(crate) fn options(dir: &Path, nodes: usize) -> TestnetOptions {
    TestnetOptions { nodes, ..TestnetOptions::new(dir.to_owned(), anvil()) }
}
