//! Nothing that is not there may look as if it were.

use super::{Finding, Tree, rust_text};

/// Macros that stand for code that nobody has written.
const STUBS: &[&str] = &["todo", "unimplemented"];

/// No such macro anywhere, not even in tests.
pub(crate) fn stubs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        for (index, line) in rust_text::code_only(&file.text).lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && !"_!".contains(c));
            let found = words
                .find_map(|word| STUBS.iter().find(|stub| word.strip_suffix('!') == Some(stub)));
            if let Some(stub) = found {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::error(place, format!("`{stub}!` stands for missing code")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::files;
    use super::*;

    #[test]
    fn stubs_are_found_in_code_only() {
        let text = "fn a() {\n    unimplemented!()\n}\n// todo!()\nfn todo() {}\nfn b() { std::todo!(\"x\") }\n\
                    const C: &str = \"todo!\";\n";
        assert_eq!(
            stubs(&files(&[("a.rs", text), ("a.md", "todo!()")])),
            [
                Finding::error("a.rs:2", "`unimplemented!` stands for missing code"),
                Finding::error("a.rs:6", "`todo!` stands for missing code"),
            ]
        );
    }
}
