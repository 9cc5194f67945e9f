//! Splits documents, and the comments and strings of Rust code, into words.

/// A word in lower case. An empty text is a break, for example punctuation, which no phrase spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// The line of its first letter, from 1.
    pub(super) line: usize,
}

/// Collects words from characters.
#[derive(Default)]
struct Splitter {
    words: Vec<Word>,
    is_in_word: bool,
}

impl Splitter {
    fn push(&mut self, character: char, line: usize) {
        if character.is_alphanumeric() || matches!(character, '\'' | '-' | '_') {
            if !self.is_in_word {
                self.words.push(Word { text: String::new(), line });
                self.is_in_word = true;
            }
            if let Some(word) = self.words.last_mut() {
                word.text.extend(character.to_lowercase());
            }
        } else if character.is_whitespace() || character == '`' {
            self.is_in_word = false;
        } else {
            self.separate(line);
        }
    }

    /// Ends the word, so that no phrase continues after this place.
    fn separate(&mut self, line: usize) {
        self.is_in_word = false;
        if self.words.last().is_some_and(|word| !word.text.is_empty()) {
            self.words.push(Word { text: String::new(), line });
        }
    }
}

/// The words of a document. A paragraph may span lines, also in comments that start with `#` or `//`.
pub(super) fn words_of_document(text: &str) -> Vec<Word> {
    let mut splitter = Splitter::default();
    for (line, number) in text.lines().zip(1..) {
        let content = line.trim_start();
        if content.is_empty() {
            splitter.separate(number);
        }
        let content = content.trim_start_matches(['#', '/']);
        content.chars().chain(['\n']).for_each(|character| splitter.push(character, number));
    }
    splitter.words
}

/// The words in the comments and strings of Rust code. Consecutive comment lines are one text.
pub(super) fn words_of_rust(text: &str) -> Vec<Word> {
    let mut splitter = Splitter::default();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = token(rest, first);
        let (content, after) = rest.split_at(length);
        match kind {
            Kind::Comment => push_text(&mut splitter, content.trim_start_matches(['/', '!']), line),
            Kind::String => {
                splitter.separate(line);
                push_text(&mut splitter, content, line);
                splitter.separate(line);
            }
            Kind::Space => {}
            Kind::Code => splitter.separate(line),
        }
        line += content.matches('\n').count();
        rest = after;
    }
    splitter.words
}

fn push_text(splitter: &mut Splitter, text: &str, mut line: usize) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            // A line of a string that continues on the next one; other escapes are single characters.
            ('\\', Some('\n')) => {}
            ('\\', Some(_)) => {
                characters.next();
                splitter.separate(line);
            }
            _ => splitter.push(character, line),
        }
        line += usize::from(character == '\n');
    }
    splitter.push('\n', line);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Comment,
    String,
    Space,
    Code,
}

/// The kind and the length in bytes of the token at the start of `rest`.
fn token(rest: &str, first: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if first == '"' {
        return (Kind::String, string_length(rest));
    }
    if let Some(length) = raw_string_length(rest) {
        return (Kind::String, length);
    }
    if first == '\'' {
        return (Kind::Code, character_length(rest));
    }
    if first.is_whitespace() {
        return (Kind::Space, first.len_utf8());
    }
    // A complete identifier, so that the `r` at its end does not start a raw string.
    let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len());
    (Kind::Code, end.max(first.len_utf8()))
}

/// The length of a string with its quotes.
fn string_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

/// The length of a raw string, `r"..."` or `r#"..."#`, if there is one.
fn raw_string_length(rest: &str) -> Option<usize> {
    let after_r = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let content = after_r[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - content.len();
    Some(content.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// The length of a character literal, or of the quote that starts a lifetime.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next().unwrap_or_default();
    if first == '\\' {
        return rest.char_indices().skip(3).find(|(_, character)| *character == '\'').map_or(1, |(at, _)| at + 1);
    }
    match characters.next() {
        Some((at, '\'')) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[Word]) -> String {
        let words: Vec<String> = words.iter().map(|word| format!("{}{}", word.line, word.text)).collect();
        words.join(" ")
    }

    /// Words have their line, and punctuation and empty lines are breaks.
    #[test]
    fn documents_are_split() {
        assert_eq!(shown(&words_of_document("A b,\nc `d`\n\n# E\n")), "1a 1b 1 2c 2d 3 4e");
    }

    /// Comment lines are joined; code between them is a break.
    #[test]
    fn comments_are_joined() {
        assert_eq!(shown(&words_of_rust("/// A\n    /// b\nfn f() {} // c\n")), "1a 2b 3 3c");
    }

    /// Strings of every form are found, and characters and lifetimes do not start one.
    #[test]
    fn strings_are_found() {
        assert_eq!(shown(&words_of_rust(r#"f('"', "a \" b", 'x', "c")"#)), "1a 1 1b 1 1c 1");
        assert_eq!(shown(&words_of_rust("f::<'a>(r#\"a \" b\"#, br\"c\")")), "1r 1 1a 1 1b 1 1br 1 1c 1");
        assert_eq!(shown(&words_of_rust("f('\\'', \"a\", '\\u{1b}')")), "1a 1");
    }

    /// A string that continues after a backslash is one text; other escapes are breaks.
    #[test]
    fn continued_strings_are_joined() {
        assert_eq!(shown(&words_of_rust("f(\"a \\\n    b\\nc\")")), "1a 2b 2 2c 2");
    }

    /// Any text is split without a panic, also one that ends in the middle of a token.
    #[test]
    fn incomplete_tokens_are_handled() {
        for text in ["\"", "r#\"", "'", "'\\", "/*", "b", "é\"ü", "'é'"] {
            words_of_rust(text);
        }
    }
}
