//! `kmodtrace impact NAME... FILE...`: who has needed a module, so who would miss it.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde::Serialize;

use super::{
    EXIT_VERDICT,
    events::{Items, read},
    print,
};
use crate::{
    capture::{files, reader::Reader},
    logging::say,
    output::{escape_str, sentence},
    prevent::{Need, Needs},
};

/// Where the service puts its captures.
const CAPTURES: &str = "/var/log/kmodtrace";

/// Arguments of `impact`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 nobody in the captures needed it, 1 somebody did, 125 error. Captures tell of the \
    time that they cover: what runs once a year is in none of a week."
)]
pub struct Args {
    /// Write one JSON object a line, one for each name.
    #[arg(long)]
    json: bool,
    /// Modules or aliases; then captures, files or directories. What has a / or ends with .jsonl or .zst is one, and what holds
    /// captures; - is standard input.
    /// Without captures: those in /var/log/kmodtrace.
    #[arg(required = true, value_name = "NAME|FILE")]
    words: Vec<OsString>,
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    needs: &'a [Need],
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (files, names): (Vec<&OsString>, Vec<&OsString>) = args.words.iter().partition(|word| is_capture(word));
    let mut files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    if files.is_empty() {
        files.push(PathBuf::from(CAPTURES));
    }
    if names.is_empty() {
        bail!(
            "no module or alias was named: give one before the captures, e.g. kmodtrace impact nf_conntrack {}",
            files[0].display()
        );
    }
    let needs = gather(&files)?;
    let mut text = String::new();
    let mut somebody = false;
    for name in names {
        let name = name.to_string_lossy();
        let found = needs.of(&name);
        somebody |= !found.is_empty();
        if args.json {
            let line = Line { name: &name, needs: &found };
            text += &serde_json::to_string(&line).context("cannot write the answer as JSON")?;
            text.push('\n');
        } else {
            human(&mut text, &name, &found);
        }
    }
    print::stdout(&text)?;
    Ok(if somebody { ExitCode::from(EXIT_VERDICT) } else { ExitCode::SUCCESS })
}

/// Whether a word means captures. A module may be called like anything that lies here: what has no `/` and no captures' ending
/// must be one by what is in it.
fn is_capture(word: &OsString) -> bool {
    let path = Path::new(word);
    let text = word.to_string_lossy();
    text == "-" || text.contains('/') || files::is_capture(path) || text.ends_with(".zst") || holds_events(path)
}

/// Whether a file begins as a capture does, or a directory has captures.
fn holds_events(path: &Path) -> bool {
    if path.is_dir() {
        return files::list(&[path.to_owned()]).is_ok();
    }
    let first = |file: File| Reader::new(file).ok()?.next_event().ok()?;
    // A pipe has no second beginning, and what cannot be read is none.
    path.is_file() && File::open(path).is_ok_and(|file| first(file).is_some())
}

/// What captures tell of needs; what they do not tell is said.
pub(super) fn gather(files: &[PathBuf]) -> anyhow::Result<Needs> {
    let mut needs = Needs::default();
    let mut take = |item| needs.take(&item);
    let mut items = Items::new(&mut take);
    read(files, &mut items).context("the captures cannot be used")?;
    for doubt in items.finish() {
        say(&format!("warning: {}", sentence(&doubt)));
    }
    if needs.forgotten() > 0 {
        say(&format!("warning: {} requests of further programs are not told: there are too many", needs.forgotten()));
    }
    Ok(needs)
}

fn human(out: &mut String, name: &str, needs: &[Need]) {
    let name = escape_str(name);
    if needs.is_empty() {
        out.push_str(&format!("{name}: nobody in these captures needed it\n"));
        return;
    }
    out.push_str(&format!("{name}: would be missed by\n"));
    for need in needs {
        let unit = if need.unit.is_empty() { String::new() } else { format!(", {}", escape_str(&need.unit)) };
        let what = match (&need.alias, need.as_dependency) {
            (None, _) => "loaded by hand".to_owned(),
            (Some(alias), false) => format!("asked for {}", escape_str(alias)),
            (Some(alias), true) => format!("as part of what {} loads", escape_str(alias)),
        };
        let last = need.last.map_or_else(String::new, |last| format!(", last {last:.0}"));
        out.push_str(&format!(
            "  {} ({}{unit}): {what}, {}{last}\n",
            escape_str(&need.program),
            escape_str(&need.user),
            times(need.count, need.loaded)
        ));
    }
}

/// How often, and how often it was there already.
fn times(count: u64, loaded: u64) -> String {
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    match (count, loaded) {
        (_, 0) => format!("{times}, there already"),
        (count, loaded) if loaded < count => format!("{times}, {} of them there already", count - loaded),
        _ => times,
    }
}

#[cfg(test)]
mod tests {
    use super::{Need, human, is_capture, times};

    /// Check what is told, and that hostile names make no lines.
    #[test]
    fn the_answer_is_lines() {
        let mut text = String::new();
        human(&mut text, "vfat", &[]);
        let need = Need {
            program: "/bin/a\nb".to_owned(),
            user: "root".to_owned(),
            unit: "x.service".to_owned(),
            alias: Some("fs-vfat".to_owned()),
            as_dependency: true,
            count: 3,
            loaded: 1,
            last: Some("2026-03-01T12:04:31.2Z".parse().unwrap()),
        };
        human(&mut text, "fat", &[need]);
        assert_eq!(
            text,
            "vfat: nobody in these captures needed it\nfat: would be missed by\n  /bin/a\\nb (root, x.service): as part of \
             what fs-vfat loads, 3 times, 2 of them there already, last 2026-03-01T12:04:31Z\n"
        );
    }

    /// Check how numbers are said.
    #[test]
    fn numbers_are_words() {
        for (count, loaded, words) in [
            (1, 1, "once"),
            (1, 0, "once, there already"),
            (4, 4, "4 times"),
            (4, 0, "4 times, there already"),
            (4, 3, "4 times, 1 of them there already"),
        ] {
            assert_eq!(times(count, loaded), words);
        }
    }

    /// Check that captures are told from names.
    #[test]
    fn files_are_told_from_names() {
        for (word, file) in [
            ("nf_conntrack", false),
            ("net-pf-30", false),
            ("netdev-eth0.100", false),
            // A directory of this package, and a file, that hold no captures.
            ("src", false),
            ("Cargo.toml", false),
            ("-", true),
            ("a.jsonl", true),
            ("a.zst", true),
            ("./x", true),
        ] {
            assert_eq!(is_capture(&word.into()), file, "{word}");
        }
    }
}
