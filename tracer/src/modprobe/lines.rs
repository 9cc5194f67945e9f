//! The lines of a configuration file, split as kmod does (`freadline_wrapped()` and `kmod_config_parse()`, libkmod 30).
//!
//! modprobe itself reports what is in force. This only finds where a line is, and lines that have no effect.

use super::names::lossless;
use crate::glob;

/// A line of a file, with the lines that a backslash continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileLine {
    /// Number of its first line, from 1.
    pub number: usize,
    /// Its words up to the value: the keyword and the name.
    words: Vec<String>,
    /// The rest behind the name.
    rest: String,
}

/// The lines of a file that are neither empty nor comments.
pub(super) fn lines(content: &[u8]) -> Vec<FileLine> {
    let mut lines = Vec::new();
    let (mut line, mut first, mut number) = (Vec::new(), 1, 1);
    let mut bytes = content.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => {
                lines.extend(FileLine::new(&line, first));
                line.clear();
                number += 1;
                first = number;
            }
            // kmod drops a backslash, with the end of the line behind it.
            b'\\' if bytes.peek() == Some(&b'\n') => {
                bytes.next();
                number += 1;
            }
            b'\\' => line.extend(bytes.next()),
            other => line.push(other),
        }
    }
    lines.extend(FileLine::new(&line, first));
    lines
}

impl FileLine {
    fn new(line: &[u8], number: usize) -> Option<Self> {
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let mut words = Vec::new();
        let mut rest = line;
        while words.len() < 2 {
            rest = rest.get(rest.iter().take_while(|byte| is_blank(byte)).count()..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| !is_blank(byte)).count();
            if length == 0 {
                break;
            }
            words.push(lossless(rest.get(..length).unwrap_or_default()));
            rest = rest.get(length..).unwrap_or_default();
        }
        let rest = lossless(rest).trim_matches([' ', '\t']).to_owned();
        (!words.is_empty()).then_some(Self { number, words, rest })
    }

    /// The line as modprobe prints it in its configuration; `None` if modprobe ignores it.
    pub(super) fn directive(&self) -> Option<String> {
        let [keyword, name] = self.words.as_slice() else { return None };
        let name = normal(name)?;
        let first_of_rest = || self.rest.split([' ', '\t']).next().filter(|word| !word.is_empty());
        match keyword.as_str() {
            "blacklist" => Some(format!("blacklist {name}")),
            "alias" => Some(format!("alias {name} {}", normal(first_of_rest()?)?)),
            "install" | "remove" | "options" | "softdep" | "weakdep" if !self.rest.is_empty() => {
                Some(format!("{keyword} {name} {}", self.rest))
            }
            _ => None,
        }
    }

    /// Whether the line affects what modprobe loads.
    pub(super) fn is_about_loading(&self) -> bool {
        self.words.len() == 2 && matches!(self.words[0].as_str(), "alias" | "blacklist" | "install" | "softdep")
    }

    /// The line with single blanks.
    pub(super) fn text(&self) -> String {
        let mut text = self.words.join(" ");
        if !self.rest.is_empty() {
            text.push(' ');
            text.push_str(&self.rest);
        }
        text
    }

    /// Why a name of the line is not the one that it looks like.
    pub(super) fn odd_character(&self) -> Option<&'static str> {
        let is_command = self.words.first().is_some_and(|keyword| matches!(keyword.as_str(), "install" | "remove"));
        let mut names =
            self.words.iter().skip(1).map(String::as_str).chain((!is_command).then_some(self.rest.as_str()));
        let all = || self.words.iter().map(String::as_str).chain([self.rest.as_str()]);
        if all().any(|word| word.contains('\r')) {
            Some("a carriage return belongs to its last word; convert the file to Unix line ends")
        } else if names.any(|word| word.contains(is_hyphen)) {
            Some("a hyphen in its name is not the ASCII character `-`")
        } else {
            None
        }
    }

    /// The names that a person reads in it, normalized: without carriage returns, and with ASCII hyphens.
    pub(super) fn names(&self) -> Vec<String> {
        let text = self.text().replace(is_hyphen, "-").replace('\r', " ");
        let words = text.split(char::is_whitespace).filter(|word| !word.is_empty());
        words.filter_map(normal).collect()
    }
}

/// Hyphens and dashes that are not `-`.
fn is_hyphen(character: char) -> bool {
    matches!(character, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' | '\u{ad}')
}

fn normal(name: &str) -> Option<String> {
    glob::normalize(name.as_bytes()).map(|name| lossless(&name))
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn directives(text: &[u8]) -> Vec<(usize, Option<String>)> {
        lines(text).iter().map(|line| (line.number, line.directive())).collect()
    }

    /// Lines are numbered, continued lines count as one, and comments and empty lines are no lines.
    #[test]
    fn lines_are_split_as_by_kmod() {
        let text =
            b"# x\n\nblacklist  net-pf x\ninstall\tudf \t/bin/sh -c \\\n 'exit 1'\t\nalias a-b off y\n  # odd\nalias x";
        let some = |text: &str| Some(text.to_owned());
        let expected = [
            (3, some("blacklist net_pf")),
            (4, some("install udf /bin/sh -c  'exit 1'")),
            (6, some("alias a_b off")),
            (7, None),
            (8, None),
        ];
        assert_eq!(directives(text), expected);
        assert!(directives(b"").is_empty() && directives(b"\n\n").is_empty());
    }

    /// A name that looks like another one has a reason; the command of an install line may contain any character.
    #[test]
    fn odd_characters_are_found() {
        for (text, part) in [
            ("blacklist udf\r\n", Some("carriage return")),
            ("install udf /bin/false\r\n", Some("carriage return")),
            ("blacklist algif\u{2010}aead", Some("hyphen")),
            ("alias a off\u{2212}x", Some("hyphen")),
            ("install udf /bin/echo \u{2013}", None),
            ("blacklist algif-aead", None),
        ] {
            let found = lines(text.as_bytes())[0].odd_character();
            assert_eq!(found.is_some(), part.is_some(), "{text:?}");
            assert!(found.unwrap_or_default().contains(part.unwrap_or_default()), "{text:?}");
        }
        assert_eq!(lines("blacklist algif\u{2010}aead\r".as_bytes())[0].names(), ["blacklist", "algif_aead"]);
    }
}
