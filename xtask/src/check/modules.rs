//! Modules have names that say what is inside, and stand where their names say.

use super::{Finding, Tree, rust_text};

/// Names that say nothing.
const NAMELESS: &[&str] = &["utils", "util", "common", "helpers", "misc"];

/// No `#[path]`, and no module with a name that says nothing.
pub(crate) fn modules(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        for (index, line) in rust_text::code_only(&file.text).lines().enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            if sets_path(line) {
                findings.push(Finding::error(&place, "no `#[path]`: a module stands at its name"));
            }
            if let Some(name) = declared_module(line).filter(|name| NAMELESS.contains(name)) {
                let message = format!("`mod {name}` does not say what is inside");
                findings.push(Finding::error(&place, message));
            }
        }
    }
    findings
}

fn sets_path(line: &str) -> bool {
    let dense: String = line.split_whitespace().collect();
    dense.contains("#[path=") || (dense.contains("#[cfg_attr(") && dense.contains(",path="))
}

/// The name after `mod` in a declaration.
fn declared_module(line: &str) -> Option<&str> {
    let mut words =
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    words.by_ref().find(|word| *word == "mod")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::files;
    use super::*;

    #[test]
    fn path_attributes_and_nameless_modules_are_found() {
        let text = "#[path = \"x.rs\"]\nmod x;\npub(crate) mod utils;\nmod common {\n}\n\
                    #[cfg_attr(unix, path = \"y.rs\")]\nmod y;\n";
        let places: Vec<String> = modules(&files(&[("src/lib.rs", text)]))
            .into_iter()
            .map(|finding| finding.place)
            .collect();
        assert_eq!(places, ["src/lib.rs:1", "src/lib.rs:3", "src/lib.rs:4", "src/lib.rs:6"]);
    }

    #[test]
    fn comments_strings_and_other_names_pass() {
        let text = "// mod utils;\nconst A: &str = \"#[path = 1] mod common;\";\nmod utility;\n\
                    #[arg(long, value_name = \"PATH\")]\nuse crate::common_ground;\n";
        assert_eq!(modules(&files(&[("src/lib.rs", text), ("a.md", "mod utils;\n")])), []);
    }
}
