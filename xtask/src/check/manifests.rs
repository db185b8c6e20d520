//! What every crate has in common.

use super::{Finding, Tree};

/// The edition of every crate.
const EDITION: &str = "2024";

/// Every crate has the edition and takes the workspace's lints.
pub(crate) fn manifests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in &tree.crates {
        if krate.edition != EDITION {
            let message = format!("{} has edition {}, not {EDITION}", krate.name, krate.edition);
            findings.push(Finding::error(&krate.manifest, message));
        }
        let takes_lints = tree.file(&krate.manifest).is_some_and(|file| inherits_lints(&file.text));
        if !takes_lints {
            let message = format!("{} lacks `[lints] workspace = true`", krate.name);
            findings.push(Finding::error(&krate.manifest, message));
        }
    }
    findings
}

/// There is one Cargo.lock, at the root.
pub(crate) fn one_lock_file(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.lock"))
        .map(|file| Finding::error(&file.path, "a second lock file: the one is at the root"))
        .collect();
    if tree.file("Cargo.lock").is_none() {
        findings.push(Finding::error("Cargo.lock", "is missing"));
    }
    findings
}

fn inherits_lints(manifest: &str) -> bool {
    let mut section = "";
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let line: String = line.split_whitespace().collect();
        (section == "[lints]" && line == "workspace=true") || line == "lints.workspace=true"
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::{files, krate};
    use super::*;

    #[test]
    fn an_older_edition_and_missing_lints_are_found() {
        let good = "[package]\n\n[lints]\nworkspace = true\n";
        let other_section = "[package]\nlints = 1\n\n[lints.clippy]\nworkspace = true\n";
        let mut tree = files(&[
            ("crates/spillway-net/Cargo.toml", good),
            ("crates/spillway-pay/Cargo.toml", other_section),
        ]);
        tree.crates = vec![krate("spillway-net", &[]), krate("spillway-pay", &[])];
        tree.crates[0].edition = "2021".to_owned();
        assert_eq!(
            manifests(&tree),
            [
                Finding::error(
                    "crates/spillway-net/Cargo.toml",
                    "spillway-net has edition 2021, not 2024"
                ),
                Finding::error(
                    "crates/spillway-pay/Cargo.toml",
                    "spillway-pay lacks `[lints] workspace = true`"
                ),
            ]
        );
    }

    #[test]
    fn exactly_one_lock_file() {
        assert_eq!(one_lock_file(&files(&[("Cargo.lock", "")])), []);
        assert_eq!(one_lock_file(&files(&[])), [Finding::error("Cargo.lock", "is missing")]);
        assert_eq!(
            one_lock_file(&files(&[("Cargo.lock", ""), ("xtask/Cargo.lock", "")])),
            [Finding::error("xtask/Cargo.lock", "a second lock file: the one is at the root")]
        );
    }
}
