//! The tree check: what the compiler and the lints cannot see.
//!
//! [`Tree`] holds the facts (files, manifests, crate edges), each rule is a pure function from a tree to
//! [`Finding`]s, so every rule has tests that feed it bad trees. Reading the facts is the only I/O.

mod edges;
mod finding;
mod forbidden;
mod lengths;
mod manifests;
mod modules;
mod reasons;
mod rust_text;
mod stubs;
mod tree;

use anyhow::{Result, bail};

pub(crate) use finding::{Finding, Severity};
pub(crate) use tree::Tree;

use crate::workspace::Workspace;

/// Every rule, in the order in which its findings are printed.
const RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    edges::crate_edges,
    edges::documented_edges,
    edges::reserved_dependencies,
    lengths::file_lengths,
    manifests::manifests,
    manifests::one_lock_file,
    forbidden::forbidden_words,
    forbidden::foreign_registries,
    reasons::dependency_reasons,
    modules::modules,
    stubs::stubs,
];

/// Reads the work tree and applies every rule to it.
///
/// # Errors
/// When the tree cannot be read, or when a rule finds an error; warnings are printed and pass.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::read(workspace)?;
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    for finding in &findings {
        eprintln!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        bail!("the tree check found {errors} error{}", if errors == 1 { "" } else { "s" });
    }
    eprintln!("tree check: {} files and {} crates pass", tree.files.len(), tree.crates.len());
    Ok(())
}
