//! Words that do not belong into a tree that stands alone: paths of somebody's machine, package registries.

use super::{Finding, Tree};

/// What no tracked file may contain. Split, so that this file does not contain them either.
const WORDS: &[(&str, Place, &str)] = &[
    (concat!("/", "root", "/"), Place::PathStart, "a path of somebody's machine"),
    (concat!("/", "home", "/"), Place::PathStart, "a path of somebody's machine"),
    (concat!("/", "tmp", "/"), Place::PathStart, "a path of somebody's machine: use tempfile"),
    (concat!("..", "/", "shared"), Place::Anywhere, "a path outside the repository"),
    (concat!("registry", ".npmjs", ".org"), Place::Anywhere, "the host of a package registry"),
    (concat!("registry", ".yarnpkg", ".com"), Place::Anywhere, "the host of a package registry"),
    (concat!("index", ".crates", ".io"), Place::Anywhere, "the host of a package registry"),
    (concat!("static", ".crates", ".io"), Place::Anywhere, "the host of a package registry"),
    (concat!("files", ".pythonhosted", ".org"), Place::Anywhere, "the host of a package registry"),
];

/// The one source of packages that Cargo.lock may name.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Where a word counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Wherever it stands.
    Anywhere,
    /// Only where an absolute path starts: not in `$HOME…`, not in `target…`, not in an address.
    PathStart,
}

/// No forbidden word in any text file.
pub(crate) fn forbidden_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            for (word, place, what) in WORDS {
                if contains(line, word, *place) {
                    let place = format!("{}:{}", file.path, index + 1);
                    findings.push(Finding::error(place, format!("`{word}`: {what}")));
                }
            }
        }
    }
    findings
}

/// Lock files name packages by version and hash, never by another place than the usual one.
pub(crate) fn foreign_registries(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        for (index, line) in file.text.lines().enumerate() {
            let line = line.trim();
            let foreign = match name {
                "Cargo.lock" => line
                    .strip_prefix("source = \"")
                    .is_some_and(|source| source.trim_end_matches('"') != CRATES_IO),
                "package-lock.json" => line.starts_with("\"resolved\": \"http"),
                "config.toml" => line.starts_with("[source") || line.starts_with("[registries"),
                _ => false,
            };
            if foreign {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::error(place, format!("names a place of packages: {line}")));
            }
        }
    }
    findings
}

fn contains(line: &str, word: &str, place: Place) -> bool {
    line.match_indices(word).any(|(at, _)| {
        place == Place::Anywhere
            || !line[..at].chars().next_back().is_some_and(|before| {
                before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '~' | '}' | ')')
            })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::files;
    use super::*;

    #[test]
    fn machine_paths_are_found_where_they_start() {
        let root = concat!("/", "root", "/");
        let tmp = concat!("/", "tmp", "/");
        let text =
            format!("one\nlet p = \"{tmp}x\";\nsee {root}a and $HOME{tmp}b\nhttps://a.b{root}c\n");
        let findings = forbidden_words(&files(&[("docs/a.md", &text)]));
        assert_eq!(
            findings,
            [
                Finding::error(
                    "docs/a.md:2",
                    format!("`{tmp}`: a path of somebody's machine: use tempfile")
                ),
                Finding::error("docs/a.md:3", format!("`{root}`: a path of somebody's machine")),
            ]
        );
    }

    #[test]
    fn a_path_outside_the_repository_is_found_anywhere() {
        let word = concat!("..", "/", "shared");
        let findings = forbidden_words(&files(&[("a.rs", &format!("// ..{word}/design"))]));
        assert_eq!(
            findings,
            [Finding::error("a.rs:1", format!("`{word}`: a path outside the repository"))]
        );
    }

    #[test]
    fn lock_files_with_other_registries_are_found() {
        let ours = format!("source = \"{CRATES_IO}\"\n");
        let theirs = "name = \"a\"\nsource = \"registry+https://mirror.example/index\"\n";
        let npm = "{\n  \"resolved\": \"https://mirror.example/a.tgz\",\n";
        let config = "[source.crates-io]\nreplace-with = \"mirror\"\n";
        let tree = files(&[
            ("Cargo.lock", &format!("{ours}{theirs}")),
            ("tools/package-lock.json", npm),
            (".cargo/config.toml", config),
            ("docs/a.md", theirs),
        ]);
        assert_eq!(
            foreign_registries(&tree).into_iter().map(|finding| finding.place).collect::<Vec<_>>(),
            ["Cargo.lock:3", "tools/package-lock.json:2", ".cargo/config.toml:1"]
        );
    }
}
