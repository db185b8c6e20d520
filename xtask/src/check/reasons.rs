//! Every dependency has its reason in ARCHITECTURE.md.

use std::collections::BTreeSet;

use super::{Finding, Tree};

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Dependencies";

/// One row of a Markdown table whose first cell is a name in backticks.
pub(crate) struct Row {
    /// The name, without the backticks.
    pub(crate) name: String,
    /// The other cells.
    pub(crate) cells: Vec<String>,
}

/// The rows of every table of a section, subsections included.
pub(crate) fn table_rows(markdown: &str, heading: &str) -> Vec<Row> {
    markdown
        .lines()
        .skip_while(|line| line.trim_end() != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(table_row)
        .collect()
}

fn table_row(line: &str) -> Option<Row> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = inner.split('|').map(|cell| cell.trim().to_owned());
    let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
    Some(Row { name, cells: cells.collect() })
}

/// Every direct dependency has a row with a reason, and every row has its dependency.
pub(crate) fn dependency_reasons(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.file(DOCUMENT) else {
        return vec![Finding::error(DOCUMENT, "is missing")];
    };
    let rows = table_rows(&document.text, HEADING);
    let used: BTreeSet<&str> = tree
        .crates
        .iter()
        .flat_map(|krate| &krate.dependencies)
        .filter(|dependency| !dependency.in_workspace)
        .map(|dependency| dependency.name.as_str())
        .collect();
    let declared = tree.file("Cargo.toml").map_or_else(BTreeSet::new, |root| declared(&root.text));
    let mut findings = Vec::new();
    for name in &used {
        match rows.iter().find(|row| row.name == *name) {
            None => {
                let message = format!("`{HEADING}` has no row with the reason for {name}");
                findings.push(Finding::error(DOCUMENT, message));
            }
            Some(row) if row.cells.last().is_none_or(String::is_empty) => {
                findings.push(Finding::error(DOCUMENT, format!("{name} has no reason")));
            }
            Some(_) => {}
        }
    }
    for row in rows {
        if !used.contains(row.name.as_str()) && !declared.contains(row.name.as_str()) {
            let message = format!("{} has a reason, but nothing depends on it", row.name);
            findings.push(Finding::error(DOCUMENT, message));
        }
    }
    findings
}

/// The names in `[workspace.dependencies]`.
fn declared(root_manifest: &str) -> BTreeSet<&str> {
    root_manifest
        .lines()
        .skip_while(|line| line.trim() != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::{files, krate};
    use super::*;

    const TABLE: &str = "# A\n\n## Dependencies\n\n| crate | why |\n|---|---|\n| `tokio` | the runtime |\n\
                         \n### Tests\n\n| `insta` | snapshots |\n\n## Next\n\n| `hex` | elsewhere |\n";

    fn tree(document: &str, dependencies: &[&str]) -> Tree {
        let root = "[workspace.dependencies]\ninsta = \"1\"\n\n[profile.dev]\nold = 1\n";
        let mut tree = files(&[("ARCHITECTURE.md", document), ("Cargo.toml", root)]);
        tree.crates = vec![krate("spillway-net", dependencies)];
        tree
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        assert_eq!(dependency_reasons(&tree(TABLE, &["tokio", "spillway-types"])), []);
        assert_eq!(
            dependency_reasons(&tree(TABLE, &["tokio", "hex"])),
            [Finding::error(
                "ARCHITECTURE.md",
                "`## Dependencies` has no row with the reason for hex"
            )]
        );
        let empty = TABLE.replace("the runtime", "");
        assert_eq!(
            dependency_reasons(&tree(&empty, &["tokio"])),
            [Finding::error("ARCHITECTURE.md", "tokio has no reason")]
        );
    }

    #[test]
    fn a_reason_without_a_dependency_is_found() {
        assert_eq!(
            dependency_reasons(&tree(TABLE, &["insta"])),
            [Finding::error("ARCHITECTURE.md", "tokio has a reason, but nothing depends on it")]
        );
        let old = TABLE.replace("`tokio`", "`old`");
        assert_eq!(
            dependency_reasons(&tree(&old, &[])),
            [Finding::error("ARCHITECTURE.md", "old has a reason, but nothing depends on it")]
        );
    }
}
