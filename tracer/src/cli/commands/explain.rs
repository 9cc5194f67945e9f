//! `kmodtrace explain NAME...`: shows what requests a module or alias, what would be loaded, and what prevents it.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, process::ExitCode};

use anyhow::Context;

use crate::{
    cli::{EXIT_VERDICT, io::print},
    event::{Reason, Text},
    kernel::sysinfo::SystemInfo,
    modprobe::Resolver,
    modules::{
        Answer, Machine, Mentions, answer,
        explain::{BlockedAlias, Cause, Step, Verdict},
    },
    output::{
        argument, ascii,
        cell::{cell, columns, left},
        count, escape,
    },
};

/// Maximum number of causes shown; JSON lists all.
const CAUSES_SHOWN: usize = 8;

/// Maximum number of dependent modules shown; JSON lists all.
const USERS_SHOWN: usize = 6;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 all names are known; 1 at least one name is unknown; 125 error.\n\nNeeds no privileges."
)]
pub struct Args {
    /// Write JSON Lines, one object per name.
    #[arg(long)]
    json: bool,
    /// Aliases as requested by the kernel (net-pf-30, fs-xfs) or modules (iptable_nat).
    #[arg(required = true, value_name = "NAME")]
    names: Vec<OsString>,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sysinfo = SystemInfo::default();
    let resolver = Resolver::installed(&sysinfo).map_err(|error| format!("{:#}", anyhow::Error::from(error)));
    let view = resolver.as_ref().map(|resolver| resolver.view().clone()).unwrap_or_default();
    let mut machine = Machine::read(&sysinfo).with_nodes(&sysinfo, &view);
    let mentions = view.with(|| Mentions::read(sysinfo.root())).unwrap_or_default();
    let indexes = match &resolver {
        Ok(resolver) => {
            machine.doubts = resolver.doubts().sentences();
            Ok((resolver.config(), resolver.index()))
        }
        Err(why) => Err(why.as_str()),
    };

    let mut text = String::new();
    let mut all_known = true;
    for (number, name) in args.names.iter().enumerate() {
        let name = Text::from(name.as_bytes());
        let answer = answer(&name, indexes, &machine);
        let answer = match indexes {
            Ok((config, _)) => answer.with_mentions(&mentions, config),
            Err(_) => answer,
        };
        all_known &= answer.known;
        if args.json {
            text += &serde_json::to_string(&answer).context("cannot write the answer as JSON")?;
            text.push('\n');
        } else {
            if number > 0 {
                text.push('\n');
            }
            human(&mut text, &name, &answer);
        }
    }
    if args.json {
        print::stdout(&text)?;
    } else {
        print::human(&text)?;
    }
    Ok(if all_known { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

/// One line with its label in the first column.
fn line(out: &mut String, label: &str, text: &str) {
    out.push_str(format!("  {label:<10}{text}").trim_end());
    out.push('\n');
}

/// Several lines, the first one with a label.
fn lines(out: &mut String, label: &str, texts: impl IntoIterator<Item = String>) {
    for (number, text) in texts.into_iter().enumerate() {
        line(out, if number == 0 { label } else { "" }, &text);
    }
}

fn human(out: &mut String, name: &Text, answer: &Answer) {
    out.push_str(&argument(name));
    out.push('\n');
    for cause in answer.causes.iter().take(CAUSES_SHOWN) {
        line(out, "asked by", &cause_words(answer, cause));
        line(out, "users", &escape_str(&users(cause)));
        line(out, "source", &escape_str(cause.source));
    }
    let more = answer.causes.len().saturating_sub(CAUSES_SHOWN);
    if more > 0 {
        line(out, "", &format!("and {} (--json lists them)", count(more as u64, "other cause", "other causes")));
    }
    if answer.causes.is_empty() && answer.verdict != Verdict::NotFound {
        line(out, "asked by", "no known request of the kernel");
    }
    if !answer.needed_by.is_empty() {
        line(out, "needed by", &needed_by(&answer.needed_by));
    }
    line(out, "here", &escape_str(&answer.detail));
    if !answer.carriers.is_empty() {
        line(out, "modules", &format!("several have this alias: {}", needed_by(&answer.carriers)));
    }
    steps(out, &answer.modules);
    lines(out, "blocked", answer.blocks.iter().map(|block| escape_str(block)));
    blocked_aliases(out, answer);
    lines(out, "still", answer.still_loaded.iter().map(|way| format!("loaded {}", escape_str(way))));
    lines(out, "no effect", answer.ineffective.iter().map(|line| escape_str(line)));
    lines(out, "ignored", answer.ignored_lines.iter().map(|line| escape_str(line)));
    lines(out, "named in", answer.named_in.iter().map(|mention| escape_str(&mention.to_string())));
    lines(out, "doubt", answer.doubts.iter().map(|doubt| escape_str(doubt)));
}

/// Aliases that are blocked; those with the same line together.
fn blocked_aliases(out: &mut String, answer: &Answer) {
    let mut shown: Vec<(&str, Vec<String>)> = Vec::new();
    for BlockedAlias { alias, block, .. } in &answer.blocked_aliases {
        match shown.iter_mut().find(|(known, _)| known == block) {
            Some((_, aliases)) => aliases.push(alias.clone()),
            None => shown.push((block, vec![alias.clone()])),
        }
    }
    let texts = shown.into_iter().map(|(block, aliases)| format!("{} by {}", needed_by(&aliases), escape_str(block)));
    lines(out, "aliases", texts.map(|text| format!("blocked: {text}")));
}

fn cause_words(answer: &Answer, cause: &Cause) -> String {
    // The alias is redundant unless the name is a module.
    let alias = if cause.alias == answer.name { String::new() } else { format!(" [{}]", escape_str(&cause.alias)) };
    let more = match cause.more_aliases {
        0 => String::new(),
        1 => " and 1 more alias".to_owned(),
        count => format!(" and {count} more aliases"),
    };
    format!("{} ({}){alias}{more}", escape_str(&cause.action), cause.family)
}

fn users(cause: &Cause) -> String {
    match &cause.why {
        Some(why) => format!("{} ({why})", cause.who),
        None => cause.who.clone(),
    }
}

fn needed_by(users: &[String]) -> String {
    let shown: Vec<String> = users.iter().take(USERS_SHOWN).map(|user| escape_str(user)).collect();
    let more = users.len().saturating_sub(USERS_SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

fn steps(out: &mut String, steps: &[Step]) {
    let name = |step: &Step| cell(&ascii(&escape_str(&step.module))).into_owned();
    let width = steps.iter().map(|step| columns(&name(step))).max().unwrap_or(0);
    for step in steps {
        let module = left(&name(step), width);
        let state = if step.loaded == Some(true) { "loaded already" } else { "" };
        let command = step.command.as_deref().map(|command| format!("runs instead: {}", escape_str(command)));
        let what = command.unwrap_or_else(|| state.to_owned());
        line(out, "", &format!("  {module}  {:<10}  {what}", reason(step.reason)));
    }
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "asked",
        Reason::Alias => "alias",
        Reason::Dependency => "dependency",
        Reason::Softdep => "softdep",
    }
}

fn escape_str(text: &str) -> String {
    escape(&Text::from(text))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Machine, Text, answer, human, needed_by};

    fn shown(name: &[u8]) -> String {
        let name = Text::from(name);
        let answer: Answer = answer(&name, Err("no modprobe"), &Machine::default());
        let mut out = String::new();
        human(&mut out, &name, &answer);
        out
    }

    /// Labels are aligned, and a missing modprobe is reported.
    #[test]
    fn answer_without_modprobe_is_aligned() {
        let expected = "net-pf-30\n  \
             asked by  socket(AF_TIPC): no socket of this address family was ever opened (socket family)\n  \
             users     anyone\n  \
             source    net/socket.c:__sock_create\n  \
             here      it is unknown what would be loaded here: no modprobe\n";
        assert_eq!(shown(b"net-pf-30"), expected);
    }

    /// Control characters and line breaks in names are escaped.
    #[test]
    fn answer_hostile_name_is_escaped() {
        for name in [&b"fs-\x1b[2Jx\nhere  fine"[..], b"\xff\xfe", "crypto-\u{202e}x".as_bytes(), b""] {
            let shown = shown(name);
            assert!(shown.chars().all(|c| c == '\n' || (c == ' ' || c.is_ascii_graphic())), "{shown:?}");
            assert!(!shown.lines().any(|line| line.starts_with("here")), "{shown:?}");
        }
    }

    /// Long lists are truncated with a count.
    #[test]
    fn long_lists_are_truncated() {
        let users: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
        assert_eq!(needed_by(&users), "m0, m1, m2, m3, m4, m5 and 2 more");
    }
}
