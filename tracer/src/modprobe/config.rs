//! The configuration of modprobe, as printed by `modprobe --showconfig`.

use super::{
    aliases::Aliases,
    names::lossless,
    sources::{IgnoredLine, Place, Sources},
};
use crate::glob;

/// The line that kmod prints between its configuration and its indexes.
const END_OF_CONFIGURATION: &str = "# End of configuration files. Dumping indexes now:";

/// A pattern and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Normalized name or pattern.
    pub pattern: String,
    /// Module, command or options.
    pub value: String,
}

/// Modules to load before and after another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Softdep {
    /// The module: normalized name or pattern.
    pub pattern: String,
    /// Names or aliases to load before.
    pub before: Vec<String>,
    /// Names or aliases to load after.
    pub after: Vec<String>,
}

/// The configuration of modprobe.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `alias` lines of the configuration.
    pub aliases: Vec<Rule>,
    /// `blacklist` lines: modprobe ignores these modules in requests by alias.
    pub blacklist: Vec<String>,
    /// `install` lines: commands to run instead of loading.
    pub installs: Vec<Rule>,
    /// `options` lines.
    pub options: Vec<Rule>,
    /// `softdep` lines, including those of the modules themselves.
    pub softdeps: Vec<Softdep>,
    /// Messages that modprobe printed while it read its files, for example about lines that it ignores.
    pub warnings: Vec<String>,
    /// Aliases and symbols of the modules themselves.
    index: Aliases,
    /// Where the lines are.
    sources: Sources,
}

impl Config {
    /// Parses the output of `modprobe --showconfig`. `None` if it is not the output of kmod.
    ///
    /// Lines end with a newline and words with a space, as kmod prints them. Every other byte belongs to a word: kmod keeps
    /// carriage returns, for example. Bytes that are not UTF-8 become characters of their own (`lossless`).
    #[must_use]
    pub fn parse(output: impl AsRef<[u8]>) -> Option<Self> {
        let text = lossless(output.as_ref());
        let mut lines = text.split('\n');
        let mut config = Self::default();
        loop {
            let line = lines.next()?;
            if line == END_OF_CONFIGURATION {
                break;
            }
            let Some((keyword, rest)) = line.split_once(' ') else { continue };
            match keyword {
                "alias" => config.aliases.extend(rule(rest)),
                "blacklist" => config.blacklist.push(rest.to_owned()),
                "install" => config.installs.extend(rule(rest)),
                "options" => config.options.extend(rule(rest)),
                "softdep" => config.softdeps.extend(softdep(rest)),
                // `remove` and the newer `weakdep` do not affect what is loaded.
                _ => {}
            }
        }
        config.index = Aliases::new(lines.filter_map(|line| line.strip_prefix("alias ")));
        Some(config)
    }

    /// Adds where the lines are.
    pub(super) fn add_sources(&mut self, mut sources: Sources) {
        sources.retain_ignored(|line| self.has_line(line));
        self.sources = sources;
    }

    /// Whether a line that affects what is loaded is in force.
    pub(crate) fn has_line(&self, line: &str) -> bool {
        let is_rule = |rules: &[Rule], rest: &str| {
            rules.iter().any(|rule| {
                rest.strip_prefix(&rule.pattern).and_then(|rest| rest.strip_prefix(' ')) == Some(&rule.value)
            })
        };
        match line.split_once(' ') {
            Some(("alias", rest)) => is_rule(&self.aliases, rest),
            Some(("install", rest)) => is_rule(&self.installs, rest),
            Some(("blacklist", name)) => self.blacklist.iter().any(|module| module == name),
            _ => false,
        }
    }

    /// Where a line is, in the form in which modprobe prints it.
    #[must_use]
    pub fn place(&self, line: &str) -> Place {
        self.sources.place(line)
    }

    /// The `blacklist` line of a module with its place; `None` if it is not blacklisted.
    #[must_use]
    pub fn blacklist_line(&self, module: &str) -> Option<String> {
        let line = format!("blacklist {module}");
        self.blacklist.iter().any(|listed| listed == module).then(|| format!("{line} {}", self.place(&line)))
    }

    /// Lines that look like configuration and have no effect, or not the one that they seem to have.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredLine] {
        self.sources.ignored()
    }

    /// A configuration without lines, for modules with these aliases (`<pattern> <module>`, normalized).
    pub(super) fn of_aliases(lines: &[String]) -> Self {
        Self { index: Aliases::new(lines.iter().map(String::as_str)), ..Self::default() }
    }

    /// Modules with an alias that matches a normalized name, in no order.
    pub(super) fn indexed<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a str> + 'a {
        self.index.matching(name)
    }

    /// Aliases of a module without wildcards, normalized.
    #[must_use]
    pub fn plain_aliases_of(&self, module: &str) -> Vec<String> {
        let plain = |alias: &&str| !alias.contains(['*', '?', '[', '\\']);
        self.aliases_of(module).filter(plain).map(str::to_owned).collect()
    }

    /// Modules with an alias that matches a name, whatever the lines of the configuration say. Several patterns of one module may
    /// match.
    pub(crate) fn carriers(&self, name: &str) -> impl Iterator<Item = String> + use<> {
        let name = glob::normalize(name.as_bytes()).map(|name| lossless(&name)).unwrap_or_default();
        let mut found: Vec<String> = self.indexed(name.as_bytes()).map(str::to_owned).collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter()
    }

    /// Aliases of all modules without wildcards, normalized. Aliases of hardware (`pci:...`) are excluded.
    pub fn plain_aliases(&self) -> impl Iterator<Item = &str> {
        self.index.iter().map(|(alias, _)| alias).filter(|alias| !alias.contains(['*', '?', '[', '\\', ':']))
    }

    /// Aliases of a module, as normalized patterns.
    pub(crate) fn aliases_of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let own = self.index.iter().filter(move |(_, of)| *of == module).map(|(pattern, _)| pattern);
        // Symbols are for dependencies; the kernel does not request them.
        own.filter(|pattern| !pattern.starts_with("symbol:"))
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (pattern, value) = text.split_once(' ')?;
    // Blanks around a command have no meaning.
    Some(Rule { pattern: pattern.to_owned(), value: value.trim_matches([' ', '\t']).to_owned() })
}

/// Parses `nf_nat pre: a b post: c`. Some versions of kmod print no space before `post:`; module names contain no colon.
fn softdep(text: &str) -> Option<Softdep> {
    let (pattern, rest) = text.split_once(' ')?;
    let rest = rest.replace("post:", " post: ");
    let mut softdep = Softdep { pattern: pattern.to_owned(), before: Vec::new(), after: Vec::new() };
    let mut list = None;
    for word in rest.split_ascii_whitespace() {
        match word {
            "pre:" => list = Some(&mut softdep.before),
            "post:" => list = Some(&mut softdep.after),
            module => {
                if let Some(list) = &mut list {
                    list.push(module.to_owned());
                }
            }
        }
    }
    Some(softdep)
}

#[cfg(test)]
mod tests {
    use super::{Config, END_OF_CONFIGURATION, Softdep};

    const SHOWN: &str = "\
blacklist can_raw
install vfat /bin/false
install foo /sbin/modprobe --ignore-install foo ; echo hi
remove foo /bin/true
alias net_pf_29 off
alias \"q x\"
options snd_hda index=1
softdep nf_nat pre: a-b cpost: d-e f
softdep xyz post: d
softdep odd

# End of configuration files. Dumping indexes now:

alias fs_vfat vfat
alias pci:v00008086d*sv* e1000
alias symbol:nf_nat_setup nf_nat
";

    /// Every kind of line is parsed, including known oddities of kmod.
    #[test]
    fn config_of_kmod_is_parsed() {
        let config = Config::parse(SHOWN).unwrap();
        assert_eq!(config.blacklist, ["can_raw"]);
        assert_eq!(config.installs[1].value, "/sbin/modprobe --ignore-install foo ; echo hi");
        assert_eq!((config.aliases[0].pattern.as_str(), config.aliases[0].value.as_str()), ("net_pf_29", "off"));
        assert_eq!(config.options.len(), 1);
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = [
            Softdep { pattern: "nf_nat".to_owned(), before: strings(&["a-b", "c"]), after: strings(&["d-e", "f"]) },
            Softdep { pattern: "xyz".to_owned(), before: Vec::new(), after: strings(&["d"]) },
        ];
        assert_eq!(config.softdeps, expected);
        assert_eq!(config.indexed(b"fs_vfat").collect::<Vec<_>>(), ["vfat"]);
        assert_eq!(config.indexed(b"pci:v00008086d1234sv0").collect::<Vec<_>>(), ["e1000"]);
        assert_eq!(config.indexed(b"symbol:nf_nat_setup").collect::<Vec<_>>(), ["nf_nat"]);
        assert_eq!(config.indexed(b"net_pf_29").next(), None);
        assert_eq!(config.aliases_of("vfat").collect::<Vec<_>>(), ["fs_vfat"]);
        assert_eq!(config.aliases_of("nf_nat").next(), None, "a symbol is no alias");
    }

    /// The output of another program is not an empty configuration.
    #[test]
    fn config_of_another_program_is_rejected() {
        assert!(Config::parse("").is_none());
        assert!(Config::parse("BusyBox v1.35.0\n").is_none());
    }

    /// A carriage return belongs to the name or command, as for kmod: such a line is about another module.
    #[test]
    fn carriage_return_is_kept() {
        let text = "blacklist af_alg\r\nalias net_pf_38 off\r\ninstall udf\t/bin/false\r\ninstall x \t/bin/false\t\n";
        let config = Config::parse(format!("{text}{END_OF_CONFIGURATION}\n\nalias net_pf_38 af_alg\r\n")).unwrap();
        assert_eq!(config.blacklist, ["af_alg\r"]);
        assert_eq!(config.aliases[0].value, "off\r");
        assert_eq!(config.installs.len(), 1, "a tab is part of the word, as kmod prints only spaces between words");
        assert_eq!(config.installs[0].value, "/bin/false");
        assert_eq!(config.indexed(b"net_pf_38").collect::<Vec<_>>(), ["af_alg\r"]);
    }

    /// Only a complete line ends the configuration, not a command that contains its text.
    #[test]
    fn end_mark_within_a_line_is_part_of_the_line() {
        let text =
            format!("install udf echo {END_OF_CONFIGURATION}\ninstall vfat /bin/false\n{END_OF_CONFIGURATION} x\n");
        assert!(Config::parse(&text).is_none(), "the mark is missing");
        let config = Config::parse(format!("{text}{END_OF_CONFIGURATION}\n")).unwrap();
        assert_eq!(config.installs.len(), 2);
        assert!(config.installs[0].value.ends_with(END_OF_CONFIGURATION), "{:?}", config.installs);
    }

    /// Names that differ in a byte that is not UTF-8 stay different.
    #[test]
    fn names_that_are_not_utf8_stay_distinct() {
        let text =
            [b"blacklist a\xff\nblacklist a\xfe\nblacklist a\n".as_slice(), END_OF_CONFIGURATION.as_bytes(), b"\n"];
        let config = Config::parse(text.concat()).unwrap();
        assert_eq!(config.blacklist.len(), 3);
        assert!(config.blacklist[0] != config.blacklist[1], "{:?}", config.blacklist);
        assert_eq!(config.blacklist[2], "a");
    }
}
