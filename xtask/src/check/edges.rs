//! Which crate may depend on which.
//!
//! [`EDGES`] is the table "Crates" of ARCHITECTURE.md; a rule compares the two, so that neither drifts.
//! Development dependencies are not edges: a test may look down at anything.

use cargo_metadata::DependencyKind;

use super::{Finding, Tree, reasons::table_rows};

/// Crate, and what it may depend on.
///
/// The last ones are at the top, nothing may depend on them: `spillway-testnet` builds nodes and clients
/// from their parts, so it hands them real disks and stores; `spillway-tests` looks at balances, receipts
/// and disks below the client; `spillway-benches` measures sealing and payments.
const EDGES: &[(&str, &[&str])] = &[
    ("spillway-types", &[]),
    ("spillway-disk", &["spillway-types"]),
    ("spillway-seal", &["spillway-types"]),
    ("spillway-net", &["spillway-types"]),
    ("spillway-pay", &["spillway-types", "spillway-disk"]),
    ("spillway-store", &["spillway-types", "spillway-disk"]),
    (
        "spillway-client",
        &["spillway-types", "spillway-disk", "spillway-seal", "spillway-net", "spillway-pay"],
    ),
    (
        "spillway-node",
        &["spillway-types", "spillway-disk", "spillway-net", "spillway-pay", "spillway-store"],
    ),
    (
        "spillway-testnet",
        &[
            "spillway-types",
            "spillway-disk",
            "spillway-net",
            "spillway-pay",
            "spillway-store",
            "spillway-node",
            "spillway-client",
        ],
    ),
    (
        "spillway-sim",
        &[
            "spillway-types",
            "spillway-disk",
            "spillway-seal",
            "spillway-net",
            "spillway-pay",
            "spillway-store",
            "spillway-client",
            "spillway-node",
        ],
    ),
    ("spillway-cli", &["spillway-types", "spillway-client", "spillway-node", "spillway-testnet"]),
    (
        "spillway-tests",
        &[
            "spillway-types",
            "spillway-disk",
            "spillway-seal",
            "spillway-net",
            "spillway-pay",
            "spillway-store",
            "spillway-client",
            "spillway-node",
            "spillway-testnet",
        ],
    ),
    (
        "spillway-soak",
        &["spillway-types", "spillway-disk", "spillway-seal", "spillway-node", "spillway-testnet"],
    ),
    ("spillway-benches", &["spillway-types", "spillway-disk", "spillway-seal", "spillway-pay"]),
    (
        "spillway-fuzz",
        &[
            "spillway-types",
            "spillway-seal",
            "spillway-net",
            "spillway-pay",
            "spillway-store",
            "spillway-client",
            "spillway-node",
        ],
    ),
    ("xtask", &[]),
];

/// A family of packages that only some crates may name.
struct Reserved {
    /// Whether a package belongs to the family.
    matches: fn(&str) -> bool,
    /// The crates that may name it, also for tests.
    holders: &'static [&'static str],
    /// Why.
    reason: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        matches: |name| name == "libp2p" || name.starts_with("libp2p-"),
        holders: &["spillway-net"],
        reason: "the network is seen through the `Peers` and `Serve` seams of spillway-net",
    },
    Reserved {
        matches: |name| name == "alloy-primitives",
        holders: &["spillway-types", "spillway-pay"],
        reason: "chain types are newtypes of spillway-types",
    },
    Reserved {
        matches: |name| {
            name == "alloy" || (name.starts_with("alloy-") && name != "alloy-primitives")
        },
        holders: &["spillway-pay"],
        reason: "the chain is seen through the `Chain` seam of spillway-pay",
    },
    Reserved {
        matches: |name| name == "anyhow",
        holders: &["spillway-cli", "spillway-tests", "spillway-soak", "spillway-benches", "xtask"],
        reason: "libraries have typed errors",
    },
];

/// No edge that is missing in [`EDGES`], and no crate without a row.
pub(crate) fn crate_edges(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in &tree.crates {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == krate.name) else {
            let message = format!("crate {} has no row in the table of edges", krate.name);
            findings.push(Finding::error(&krate.manifest, message));
            continue;
        };
        for dependency in &krate.dependencies {
            let is_edge = dependency.in_workspace && dependency.kind != DependencyKind::Development;
            if is_edge && !allowed.contains(&dependency.name.as_str()) {
                let message = format!("{} must not depend on {}", krate.name, dependency.name);
                findings.push(Finding::error(&krate.manifest, message));
            }
        }
    }
    findings
}

/// The table "Crates" of ARCHITECTURE.md says what [`EDGES`] says.
pub(crate) fn documented_edges(tree: &Tree) -> Vec<Finding> {
    const DOCUMENT: &str = "ARCHITECTURE.md";
    let Some(document) = tree.file(DOCUMENT) else {
        return vec![Finding::error(DOCUMENT, "is missing")];
    };
    let rows = table_rows(&document.text, "## Crates");
    let mut findings = Vec::new();
    for (name, allowed) in EDGES {
        let Some(row) = rows.iter().find(|row| row.name == *name) else {
            findings.push(Finding::error(DOCUMENT, format!("the table of crates lacks {name}")));
            continue;
        };
        let cell = row.cells.last().map_or("", String::as_str);
        let mut documented: Vec<String> = cell
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty() && *name != "–")
            .map(|name| format!("spillway-{name}"))
            .collect();
        documented.sort_unstable();
        let mut expected: Vec<&str> = allowed.to_vec();
        expected.sort_unstable();
        if documented != expected {
            let message = format!(
                "the table of crates says that {name} depends on [{}], the check allows [{}]",
                documented.join(", "),
                expected.join(", ")
            );
            findings.push(Finding::error(DOCUMENT, message));
        }
    }
    findings
}

/// Reserved packages are named by their holders only, in any kind of dependency.
pub(crate) fn reserved_dependencies(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in &tree.crates {
        for dependency in &krate.dependencies {
            for reserved in RESERVED.iter().filter(|reserved| (reserved.matches)(&dependency.name))
            {
                if !reserved.holders.contains(&krate.name.as_str()) {
                    let message = format!(
                        "{} must not depend on {}: {}",
                        krate.name, dependency.name, reserved.reason
                    );
                    findings.push(Finding::error(&krate.manifest, message));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::{dependency, files, krate};
    use super::*;

    fn messages(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.message.as_str()).collect()
    }

    #[test]
    fn an_upward_edge_is_found() {
        let crates = vec![
            krate("spillway-types", &["spillway-net"]),
            krate("spillway-net", &["spillway-types"]),
        ];
        let findings = crate_edges(&Tree { crates, ..Tree::default() });
        assert_eq!(messages(&findings), ["spillway-types must not depend on spillway-net"]);
        assert_eq!(findings[0].place, "crates/spillway-types/Cargo.toml");
    }

    #[test]
    fn a_build_dependency_is_an_edge_and_a_development_dependency_is_not() {
        let mut seal = krate("spillway-seal", &[]);
        seal.dependencies = vec![
            dependency("spillway-net", DependencyKind::Build),
            dependency("spillway-pay", DependencyKind::Development),
        ];
        let findings = crate_edges(&Tree { crates: vec![seal], ..Tree::default() });
        assert_eq!(messages(&findings), ["spillway-seal must not depend on spillway-net"]);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let crates = vec![krate("spillway-new", &[])];
        let findings = crate_edges(&Tree { crates, ..Tree::default() });
        assert_eq!(messages(&findings), ["crate spillway-new has no row in the table of edges"]);
    }

    #[test]
    fn reserved_packages_stay_with_their_holders() {
        let mut node = krate("spillway-node", &["libp2p", "alloy-sol-types", "anyhow"]);
        node.dependencies.push(dependency("alloy-primitives", DependencyKind::Development));
        let crates = vec![
            node,
            krate("spillway-net", &["libp2p", "libp2p-kad"]),
            krate("spillway-pay", &["alloy", "alloy-primitives"]),
            krate("spillway-types", &["alloy-primitives"]),
            krate("spillway-cli", &["anyhow"]),
        ];
        let findings = reserved_dependencies(&Tree { crates, ..Tree::default() });
        assert_eq!(
            messages(&findings),
            [
                "spillway-node must not depend on libp2p: the network is seen through the `Peers` \
                 and `Serve` seams of spillway-net",
                "spillway-node must not depend on alloy-sol-types: the chain is seen through the \
                 `Chain` seam of spillway-pay",
                "spillway-node must not depend on anyhow: libraries have typed errors",
                "spillway-node must not depend on alloy-primitives: chain types are newtypes of \
                 spillway-types",
            ]
        );
    }

    /// ARCHITECTURE.md with the rows of [`EDGES`].
    fn architecture() -> String {
        let mut text =
            "# Map\n\n## Crates\n\n| crate | owns | depends on |\n|---|---|---|\n".to_owned();
        for (name, allowed) in EDGES {
            let allowed: Vec<&str> =
                allowed.iter().filter_map(|name| name.strip_prefix("spillway-")).collect();
            let cell = if allowed.is_empty() { "–".to_owned() } else { allowed.join(", ") };
            text.push_str("| `");
            text.push_str(name);
            text.push_str("` | something | ");
            text.push_str(&cell);
            text.push_str(" |\n");
        }
        text
    }

    #[test]
    fn a_document_that_says_the_same_passes() {
        assert_eq!(documented_edges(&files(&[("ARCHITECTURE.md", &architecture())])), []);
    }

    #[test]
    fn a_document_that_drifts_is_found() {
        let missing = architecture().replace("`spillway-store`", "`spillway-shop`");
        let findings = documented_edges(&files(&[("ARCHITECTURE.md", &missing)]));
        assert_eq!(messages(&findings), ["the table of crates lacks spillway-store"]);

        let other = architecture().replace(
            "`spillway-disk` | something | types",
            "`spillway-disk` | something | types, net",
        );
        let findings = documented_edges(&files(&[("ARCHITECTURE.md", &other)]));
        assert_eq!(
            messages(&findings),
            ["the table of crates says that spillway-disk depends on [spillway-net, \
              spillway-types], the check allows [spillway-types]"]
        );
        assert_eq!(messages(&documented_edges(&files(&[]))), ["is missing"]);
    }
}
