//! Just enough of Rust's grammar to tell code from comments and literals, and tests from the rest.

/// The source with every comment and every literal's content turned into spaces.
///
/// Line breaks stay where they are, so line numbers hold, and braces that are left are real ones.
pub(crate) fn code_only(source: &str) -> String {
    let mut blanker = Blanker { source: source.as_bytes(), at: 0, out: Vec::new() };
    blanker.run();
    // Only whole characters are replaced, so this is UTF-8 still.
    String::from_utf8_lossy(&blanker.out).into_owned()
}

/// How many lines belong to inline modules under `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(crate) fn test_lines(source: &str) -> usize {
    let code = code_only(source);
    let mut lines = 0;
    let mut at = 0;
    while let Some(start) = next_test_attribute(&code, at) {
        match test_module_end(&code, start) {
            Some(end) => {
                lines += code[start..end].matches('\n').count() + 1;
                at = end;
            }
            None => at = start + 1,
        }
    }
    lines
}

fn next_test_attribute(code: &str, from: usize) -> Option<usize> {
    ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .filter_map(|attribute| code[from..].find(attribute))
        .min()
        .map(|offset| from + offset)
}

/// The end of the module whose first attribute starts at `start`, if that is what stands there.
fn test_module_end(code: &str, start: usize) -> Option<usize> {
    let mut at = start;
    while code[at..].starts_with("#[") {
        at = matching(code, at + 1, '[', ']')?;
        at += code[at..].len() - code[at..].trim_start().len();
    }
    let header_length = code[at..].find(['{', ';'])?;
    let header = &code[at..at + header_length];
    let is_module = header.split_whitespace().any(|word| word == "mod");
    if !is_module || !code[at + header_length..].starts_with('{') {
        return None;
    }
    matching(code, at + header_length, '{', '}')
}

/// One past the bracket that closes the one at `open_at`.
fn matching(code: &str, open_at: usize, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, character) in code[open_at..].char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(open_at + offset + close.len_utf8());
            }
        }
    }
    None
}

struct Blanker<'a> {
    source: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Blanker<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'/' if self.peek(1) == Some(b'/') => self.blank_line_comment(),
                b'/' if self.peek(1) == Some(b'*') => self.blank_block_comment(),
                b'"' => self.blank_string(),
                b'r' if !self.inside_word() && self.raw_hashes().is_some() => {
                    self.blank_raw_string();
                }
                b'\'' => self.blank_character(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn keep(&mut self) {
        self.out.push(self.source[self.at]);
        self.at += 1;
    }

    fn blank(&mut self, count: usize) {
        let end = (self.at + count).min(self.source.len());
        for byte in &self.source[self.at..end] {
            self.out.push(if *byte == b'\n' { b'\n' } else { b' ' });
        }
        self.at = end;
    }

    /// Whether the `r` here ends a word such as `for`; the prefixes `b` and `c` start a literal, too.
    fn inside_word(&self) -> bool {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let before = |back: usize| self.at.checked_sub(back).map(|at| self.source[at]);
        match before(1) {
            Some(b'b' | b'c') => before(2).is_some_and(is_word),
            Some(byte) => is_word(byte),
            None => false,
        }
    }

    /// The number of `#` of a raw string that starts here.
    fn raw_hashes(&self) -> Option<usize> {
        let hashes = self.source[self.at + 1..].iter().take_while(|byte| **byte == b'#').count();
        (self.peek(1 + hashes) == Some(b'"')).then_some(hashes)
    }

    fn blank_line_comment(&mut self) {
        let length = self.source[self.at..].iter().take_while(|byte| **byte != b'\n').count();
        self.blank(length);
    }

    fn blank_block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.source.len() {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.blank(2);
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.blank(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.blank(1),
            }
        }
    }

    fn blank_string(&mut self) {
        self.blank(1);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.blank(2),
                b'"' => return self.blank(1),
                _ => self.blank(1),
            }
        }
    }

    fn blank_raw_string(&mut self) {
        let hashes = self.raw_hashes().unwrap_or(0);
        self.blank(2 + hashes);
        let mut end = vec![b'"'];
        end.resize(1 + hashes, b'#');
        let rest = &self.source[self.at..];
        let length = rest.windows(end.len()).position(|window| window == end.as_slice());
        self.blank(length.map_or(rest.len(), |length| length + end.len()));
    }

    /// A character literal is blanked, a lifetime stays.
    fn blank_character(&mut self) {
        if self.peek(1) == Some(b'\\') {
            let rest = self.source.get(self.at + 3..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| **byte != b'\'').count();
            return self.blank(3 + length + 1);
        }
        let width = match self.peek(1) {
            Some(byte) if byte >= 0xF0 => 4,
            Some(byte) if byte >= 0xE0 => 3,
            Some(byte) if byte >= 0xC0 => 2,
            _ => 1,
        };
        if self.peek(1 + width) == Some(b'\'') {
            self.blank(2 + width);
        } else {
            self.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let source = "a{/* } /* } */ } */}b // }\n\"}\\\"}\" r#\"}\"}\"# br\"}\" '}' '\\'' '\\u{7d}' '€' end";
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a{", "}b", "b", "end"]);
        assert_eq!(code.len(), source.len());
        assert_eq!(code.matches('\n').count(), 1);
    }

    #[test]
    fn lifetimes_loops_and_raw_names_are_code() {
        let source = "fn f<'a>(x: &'a str) { for r in r#fn { 'b: loop {} } }";
        assert_eq!(code_only(source), source);
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        assert_eq!(code_only("x \"abc"), "x     ");
        assert_eq!(code_only("x r##\"abc\"#"), "x          ");
        assert_eq!(code_only("x '\\"), "x   ");
        assert_eq!(code_only("x /* a"), "x     ");
    }

    #[test]
    fn braces_in_strings_do_not_end_a_test_module() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    const S: &str = r#\"\n}\n\"#;\n}\nfn b() {}\n";
        assert_eq!(test_lines(source), 6);
    }

    #[test]
    fn forms_of_test_modules() {
        assert_eq!(test_lines("#[cfg(test)]\nmod tests;\nfn b() {}\n"), 0);
        assert_eq!(test_lines("#[cfg(test)]\n#[expect(x)]\npub(crate) mod t {\n}\n"), 4);
        assert_eq!(test_lines("#[cfg(all(test, unix))]\nmod t { mod u {} }\n"), 2);
        assert_eq!(test_lines("#[cfg(test)]\nuse a::{b, c};\nmod d {\n}\n"), 0);
        assert_eq!(test_lines("#[cfg(test)] mod a {}\n#[cfg(test)]\nmod b {\n}\n"), 4);
        assert_eq!(test_lines("// #[cfg(test)]\nmod a {\n}\n"), 0);
        assert_eq!(test_lines("#[cfg(not(test))]\nmod a {\n}\n"), 0);
    }
}
