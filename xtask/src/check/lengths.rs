//! How long a file may get.

use super::{Finding, Tree, rust_text};

/// More non-test lines than this fail the check.
const MAX_LINES: usize = 800;
/// More non-test lines than this are worth a talk.
const WARN_LINES: usize = 500;

/// Rust files within the limits; tests do not count.
pub(crate) fn file_lengths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust() && !is_test_file(&file.path)) {
        let lines = file.text.lines().count() - rust_text::test_lines(&file.text);
        if lines > MAX_LINES {
            let message = format!("{lines} non-test lines, the limit is {MAX_LINES}: split it");
            findings.push(Finding::error(&file.path, message));
        } else if lines > WARN_LINES {
            let message = format!("{lines} non-test lines, aim at {WARN_LINES} or fewer");
            findings.push(Finding::warning(&file.path, message));
        }
    }
    findings
}

/// `tests.rs`, and everything under a directory `tests`.
fn is_test_file(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    parts.next() == Some("tests.rs") || parts.any(|directory| directory == "tests")
}

#[cfg(test)]
mod tests {
    use super::super::tree::testing::files;
    use super::*;

    fn lines(count: usize) -> String {
        "fn f() {}\n".repeat(count)
    }

    #[test]
    fn the_limits_are_exact() {
        assert_eq!(file_lengths(&files(&[("a.rs", &lines(500))])), []);
        assert_eq!(
            file_lengths(&files(&[("a.rs", &lines(501))])),
            [Finding::warning("a.rs", "501 non-test lines, aim at 500 or fewer")]
        );
        assert_eq!(
            file_lengths(&files(&[("a.rs", &lines(800))])),
            [Finding::warning("a.rs", "800 non-test lines, aim at 500 or fewer")]
        );
        assert_eq!(
            file_lengths(&files(&[("crates/x/src/a.rs", &lines(801))])),
            [Finding::error("crates/x/src/a.rs", "801 non-test lines, the limit is 800: split it")]
        );
    }

    #[test]
    fn tests_and_other_languages_do_not_count() {
        let inline = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(400), lines(900));
        let long = lines(2_000);
        let tree = files(&[
            ("src/a.rs", inline.as_str()),
            ("src/foo/tests.rs", &long),
            ("tests/src/upload.rs", &long),
            ("crates/x/tests/it/main.rs", &long),
            ("notes.md", &long),
        ]);
        assert_eq!(file_lengths(&tree), []);
    }

    #[test]
    fn lines_after_an_inline_test_module_count() {
        let text = format!("#[cfg(test)]\nmod tests {{\n}}\n{}", lines(801));
        assert_eq!(
            file_lengths(&files(&[("a.rs", &text)])),
            [Finding::error("a.rs", "801 non-test lines, the limit is 800: split it")]
        );
    }
}
