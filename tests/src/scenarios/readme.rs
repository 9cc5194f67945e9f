//! The session in the README is real: the same command prints the same text except for numbers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::{Need, Scenario};
use crate::ctx::{Ctx, equal};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "readme-session",
    fresh_boot: true,
    // Other kernels and flavours load other modules.
    needs: &[Need::Kmodtrace, Need::Release("6.1."), Need::OrdinaryFlavour],
    run: session,
}];

const README: &str = include_str!("../../../README.md");

fn session(ctx: &mut Ctx) -> Result<()> {
    let (_, rest) = README.split_once("<!-- demo -->\n```\n").context("the README has no demo")?;
    let (block, _) = rest.split_once("\n```").context("the README's demo has no end")?;
    let (command, wanted) = block.split_once('\n').context("the README's demo has no output")?;
    let command = command.strip_prefix("# ").context("the README's demo has no command")?;
    let scene = "echo 1000 > /proc/self/loginuid && ln -sf iptables-legacy /usr/sbin/iptables && ";
    let output = ctx.run(&["/bin/sh", "-c", &format!("{scene}{command} 2>&1")])?.ok()?;
    equal("output in the README", blocks(wanted), blocks(&output.stdout))
}

/// The paragraphs without numbers, as a set: two chains may end in either order.
fn blocks(text: &str) -> BTreeSet<String> {
    let text = text.replace("\nkmodtrace: 1 request", "\n\nkmodtrace: 1 request").replace(")\n0", ")\n\n0");
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.split("\n\n").map(without_numbers).map(in_order).collect()
}

/// Replaces numbers by `N`, and removes units and padding.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        // The parents of the shell differ.
        let line = line.find(" <- sh(").map_or(line, |shell| &line[..shell]);
        let words: Vec<String> = line.split_whitespace().map(number_free).collect();
        let words: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| !matches!(*word, "ms" | "us" | "s")).collect();
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

fn number_free(word: &str) -> String {
    let mut out = String::new();
    for character in word.chars() {
        let digit = character.is_ascii_digit();
        if !(digit && out.ends_with('N')) {
            out.push(if digit { 'N' } else { character });
        }
    }
    out.replace("N.N", "N")
}

/// Sorts the modules of the summary, because they are in the order in which chains ended.
fn in_order(text: String) -> String {
    let Some((head, rest)) = text.split_once(" modules loaded by ") else { return text };
    let Some((requester, modules)) = rest.split_once(": ") else { return text };
    let (modules, tail) = modules.split_once('\n').unwrap_or((modules, ""));
    let mut modules: Vec<&str> = modules.split(' ').collect();
    modules.sort_unstable();
    format!("{head} modules loaded by {requester}: {}\n{tail}", modules.join(" "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The documents with commands.
    const PAGES: [&str; 6] = [
        "README.md",
        "docs/ci.md",
        "docs/capture-format.md",
        "docs/prevention.md",
        "docs/report.md",
        "docs/service.md",
    ];

    /// The calls of kmodtrace in code blocks: lines of a shell, without prompt and comment.
    fn commands(page: &str) -> Vec<&str> {
        let blocks = page.split("```").skip(1).step_by(2);
        let lines = blocks.flat_map(str::lines).map(|line| line.trim_start_matches(['#', '$', ' ']));
        let commands = lines.filter(|line| line.starts_with("kmodtrace ") && !line.starts_with("kmodtrace -"));
        commands.map(|line| line.split(" #").next().unwrap_or(line).trim_end()).collect()
    }

    /// Every command in a code block has an existing verb, and only options that are in the manual page of the verb.
    #[test]
    fn documented_commands_use_existing_options() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut checked = 0;
        for page in PAGES {
            let text = fs::read_to_string(root.join(page)).unwrap();
            for command in commands(&text) {
                let own = command.split(" -- ").next().unwrap();
                let verb = own.split(' ').nth(1).unwrap();
                let manual = fs::read_to_string(root.join(format!("docs/man/kmodtrace-{verb}.1")));
                let manual = manual.unwrap_or_else(|error| panic!("{page}: {command}: {error}")).replace('\\', "");
                for option in own.split(' ').skip(2).filter(|word| word.starts_with('-') && word.len() > 1) {
                    let name = option.split('=').next().unwrap();
                    assert!(manual.contains(&format!("fB{name}fR")), "{page}: {command}: no option {name}");
                }
                checked += 1;
            }
        }
        assert!(checked >= 25, "only {checked} commands were found");
    }

    /// Prompts and comments are removed, and other lines are ignored.
    #[test]
    fn commands_are_found_in_code_blocks() {
        let page =
            "kmodtrace not\n```\n# kmodtrace watch\nkmodtrace run -- x   # comment\ncargo x\n```\nkmodtrace no\n";
        assert_eq!(commands(page), ["kmodtrace watch", "kmodtrace run -- x"]);
    }
}
