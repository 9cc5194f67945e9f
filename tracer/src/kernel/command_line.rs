//! The kernel command line: `/proc/cmdline`.

use std::path::Path;

use super::file::{ReadError, read};

/// The parameters of the kernel command line, in order. Parameters for init, behind `--`, are not included.
///
/// # Errors
/// If `/proc` is not mounted.
pub(crate) fn parameters(root: &Path) -> Result<Vec<Parameter>, ReadError> {
    read(root, "proc/cmdline", "mount it with `mount -t proc proc /proc`").map(|text| parse(&text))
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Its name, with `_` for `-`: the kernel does not distinguish them (`parameq`, kernel/params.c).
    pub name: String,
    /// Its value without quotes; empty if it has none.
    pub value: String,
}

/// Parses parameters as the kernel does (`next_arg`, lib/cmdline.c): quotes protect blanks.
fn parse(text: &str) -> Vec<Parameter> {
    let mut words: Vec<String> = vec![String::new()];
    let mut is_quoted = false;
    for character in text.chars() {
        match (character, words.last_mut()) {
            ('"', _) => is_quoted = !is_quoted,
            (blank, _) if blank.is_ascii_whitespace() && !is_quoted => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    let words = words.into_iter().filter(|word| !word.is_empty()).take_while(|word| word != "--");
    let parameter = |word: String| {
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        Parameter { name: name.replace('-', "_"), value: value.to_owned() }
    };
    words.map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::{Parameter, parse};

    /// Blanks separate parameters unless they are quoted, and nothing behind `--` belongs to the kernel.
    #[test]
    fn parameters_are_split_as_by_the_kernel() {
        let parsed = parse("ro module-blacklist=udf,dummy \"a b=c d\" x=\"1 2\" quiet -- module_blacklist=vfat\n");
        let parameter = |name: &str, value: &str| Parameter { name: name.to_owned(), value: value.to_owned() };
        let expected = [
            parameter("ro", ""),
            parameter("module_blacklist", "udf,dummy"),
            parameter("a b", "c d"),
            parameter("x", "1 2"),
            parameter("quiet", ""),
        ];
        assert_eq!(parsed, expected);
        assert!(parse("").is_empty());
    }
}
