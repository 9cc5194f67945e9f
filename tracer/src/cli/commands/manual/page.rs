//! One manual page: the sections that clap generates, then the others.

use std::fmt::Write as _;

use anyhow::Context;
use clap::{Arg, ArgAction, Command};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::sections::{self, Sections};

/// The beginning of the exit codes in the help of a verb.
const EXIT_CODE: &str = "Exit code: ";

/// Name and text of the page of a command that has been built.
pub(super) fn render(command: Command) -> anyhow::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let bin_name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let verb = bin_name.split_once(' ').map_or("", |(_, verb)| verb);
    let sections = sections::of(verb).with_context(|| format!("cannot render {name}: its page has no sections"))?;
    let has_verbs = command.has_subcommands();
    let (exit_codes, notes) = split_help(&help_text(&command));

    let usage = synopsis(&command, &bin_name);
    // Without a date, so that the same definition gives the same page.
    let man = Man::new(command.override_usage(usage))
        .title(name.to_uppercase())
        .manual("kmodtrace")
        .source(concat!("kmodtrace ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    let mut write = || {
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
        if has_verbs {
            man.render_subcommands_section(&mut text)?;
        }
        added(sections, &exit_codes, &notes).to_writer(&mut text)?;
        man.render_version_section(&mut text)
    };
    write().with_context(|| format!("cannot write the page of {name}"))?;
    let text = String::from_utf8(text).context("cannot write a page")?;
    Ok((name, without_repeated_preambles(&text)))
}

/// Each section is rendered with the preamble of a page; one is enough.
fn without_repeated_preambles(text: &str) -> String {
    match text.split_once(".TH ") {
        Some((preamble, rest)) if !preamble.is_empty() => format!("{preamble}.TH {}", rest.replace(preamble, "")),
        _ => text.to_owned(),
    }
}

/// The text after the options of the help.
fn help_text(command: &Command) -> String {
    command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default()
}

/// Exit codes with their meanings, and the other paragraphs.
fn split_help(text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let Some((before, codes)) = text.split_once(EXIT_CODE) else { return (Vec::new(), paragraphs(text)) };
    let (codes, after) = codes.split_once(". ").or_else(|| codes.split_once("\n\n")).unwrap_or((codes, ""));
    let mut items: Vec<(String, String)> = Vec::new();
    for word in codes.split_whitespace() {
        let is_between = items.last().is_none_or(|(_, meaning)| meaning.ends_with([',', ';']));
        if is_between && is_code(word) {
            items.push((word.trim_end_matches(';').to_owned(), String::new()));
        } else if let Some((_, meaning)) = items.last_mut() {
            let space = if meaning.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(meaning, "{space}{word}");
        }
    }
    for (_, meaning) in &mut items {
        meaning.truncate(meaning.trim_end_matches([',', ';', '.']).len());
    }
    (items, [paragraphs(before), paragraphs(after)].concat())
}

fn is_code(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit())
        && word.chars().all(|char| char.is_ascii_digit() || matches!(char, '+' | 'N' | ';'))
}

fn paragraphs(text: &str) -> Vec<String> {
    text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// `kmodtrace record [-o DIR|FILE] [--on-full drop|rotate|stop|exit] ...`: options with their values.
fn synopsis(command: &Command, bin_name: &str) -> String {
    let mut line = bin_name.to_owned();
    let options = command.get_arguments().filter(|arg| !arg.is_hide_set() && !is_built_in(arg));
    let (positional, mut named): (Vec<&Arg>, Vec<&Arg>) = options.partition(|arg| arg.is_positional());
    named.sort_by_key(|arg| !arg.is_required_set());
    for arg in named.into_iter().chain(positional) {
        let name = match (arg.get_short(), arg.get_long()) {
            (Some(short), _) => format!("-{short}"),
            (None, Some(long)) => format!("--{long}"),
            (None, None) => String::new(),
        };
        let value = if arg.get_action().takes_values() { value(arg) } else { String::new() };
        let space = if name.is_empty() || value.is_empty() { "" } else { " " };
        let is_repeatable = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count)
            || arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        let more = if is_repeatable { "..." } else { "" };
        let shown = format!("{name}{space}{value}");
        let _ = match arg.is_required_set() {
            true => write!(line, " {shown}{more}"),
            false => write!(line, " [{shown}]{more}"),
        };
    }
    if command.has_subcommands() {
        line.push_str(" COMMAND");
    }
    line
}

/// Whether an option is one that every command has.
fn is_built_in(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

/// The possible values, or the name of the value.
fn value(arg: &Arg) -> String {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        return possible.iter().map(clap::builder::PossibleValue::get_name).collect::<Vec<_>>().join("|");
    }
    match arg.get_value_names() {
        Some(names) => names.join(" "),
        None => arg.get_id().to_string(),
    }
}

/// The sections that clap does not generate, in the order of man-pages(7).
fn added(sections: &Sections, exit_codes: &[(String, String)], notes: &[String]) -> Roff {
    let mut roff = Roff::new();
    section(&mut roff, "EXIT STATUS", exit_codes.iter().map(|(code, meaning)| (code.as_str(), meaning.as_str())));
    section(&mut roff, "ENVIRONMENT", sections.environment.iter().copied());
    section(&mut roff, "FILES", sections.files.iter().copied());
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
        for note in notes {
            roff.control("PP", []);
            for line in note.lines() {
                roff.text([roman(line)]);
            }
        }
    }
    section(&mut roff, "EXAMPLES", sections.examples.iter().copied());
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(sections.see_also.join(", "))]);
    roff
}

fn section<'a>(roff: &mut Roff, title: &str, items: impl Iterator<Item = (&'a str, &'a str)>) {
    for (number, (term, meaning)) in items.enumerate() {
        if number == 0 {
            roff.control("SH", [title]);
        }
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::split_help;

    /// Codes are separated from each other and from the paragraphs around them.
    #[test]
    fn help_text_exit_codes_are_split() {
        let (codes, notes) = split_help(
            "Before.\n\nExit code: 0 fine, as far as known; 1 not, 2 files bad; 128+N signal N. After.\n\nMore.",
        );
        let codes: Vec<(&str, &str)> = codes.iter().map(|(code, meaning)| (code.as_str(), meaning.as_str())).collect();
        assert_eq!(codes, [("0", "fine, as far as known"), ("1", "not"), ("2", "files bad"), ("128+N", "signal N")]);
        assert_eq!(notes, ["Before.", "After.", "More."]);
    }

    /// A text without exit codes consists of notes.
    #[test]
    fn help_text_without_exit_codes_is_notes() {
        assert_eq!(split_help("One.\n\nTwo."), (Vec::new(), vec!["One.".to_owned(), "Two.".to_owned()]));
        assert_eq!(split_help(""), (Vec::new(), Vec::new()));
    }
}
