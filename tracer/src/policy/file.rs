//! The policy file as it is written: TOML, every key known, every value with its place.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

/// Version of the policy file's form: its `version` key.
pub const POLICY_VERSION: u32 = 1;

/// A policy for what the kernel may be made to load.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "kmodtrace policy")]
pub(super) struct PolicyFile {
    /// Version of this form: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub version: Spanned<u32>,
    /// Further policy files, relative to this one. Their rules follow the rules of this file.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub include: Vec<Spanned<String>>,
    /// What becomes of a loaded module that no rule matches: `deny` unless said otherwise.
    pub default: Option<Default>,
    /// What becomes of a request that loaded nothing and that no rule matches: `allow` unless said otherwise.
    pub default_unloaded: Option<Default>,
    /// The rules, in order: the first that matches decides.
    #[serde(default)]
    #[schemars(with = "Vec<RuleEntry>")]
    pub rule: Vec<Spanned<RuleEntry>>,
    /// What the rules must say of made-up loads and requests: `policy test` runs these.
    #[serde(default)]
    #[schemars(with = "Vec<CaseEntry>")]
    pub case: Vec<Spanned<CaseEntry>>,
}

/// What becomes of what no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Default {
    /// It is fine.
    Allow,
    /// It violates the policy.
    Deny,
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// It is fine.
    Allow,
    /// It violates the policy.
    Deny,
    /// It is fine, and it must happen: without it the policy is violated.
    Expect,
    /// It is not judged, and not counted as fine either.
    Ignore,
}

impl Action {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Expect => "expect",
            Self::Ignore => "ignore",
        }
    }
}

/// Why an expectation cannot be met, of which a rule may say that it is then skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Excuse {
    /// The module is part of the kernel (`=y`).
    BuiltIn,
    /// The module was loaded before tracing began.
    AlreadyLoaded,
    /// The kernel has no such module, or no module that provides the alias.
    Missing,
}

impl Excuse {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::AlreadyLoaded => "already-loaded",
            Self::Missing => "missing",
        }
    }
}

/// One rule. Every key that is given must match; one without any matches everything.
///
/// Patterns know `*`, `?` and `[...]`; a list matches when one of its patterns does, and `!` in front of a pattern
/// takes out what it matches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    /// Its name in every output; made of its keys where it is not given.
    #[schemars(with = "Option<String>")]
    pub name: Option<Spanned<String>>,
    /// What it does with what it matches.
    pub action: Action,
    /// Modules, dependencies included. A request that loaded nothing has none.
    pub module: Option<Patterns>,
    /// What the kernel asked for, as it asked. What a process loads by itself has none.
    pub alias: Option<Patterns>,
    /// Family of the alias, as `kmodtrace explain` names it: "socket family".
    pub family: Option<Patterns>,
    /// How the request ended: `loaded`, `not-found`, `blocklisted` and so on; of a module `loaded` or `failed`.
    pub result: Option<Patterns>,
    /// What made it load: `request`, `explicit` or `udev`.
    pub origin: Option<Patterns>,
    /// Real user id of who is behind it, in the initial user namespace.
    pub uid: Option<Patterns>,
    /// Name of that user.
    pub user: Option<Patterns>,
    /// Executable of who is behind it.
    pub exe: Option<Patterns>,
    /// Name of the task that is behind it: anyone may choose it.
    pub comm: Option<Patterns>,
    /// Cgroup (v2) path.
    pub cgroup: Option<Patterns>,
    /// Systemd unit.
    pub unit: Option<Patterns>,
    /// Container: `<runtime>:<id>`.
    pub container: Option<Patterns>,
    /// `initial`, or `other` for a user namespace below it.
    pub user_namespace: Option<Patterns>,
    /// Why the rule is there: printed with every violation.
    pub reason: Option<String>,
    /// The last day (UTC) on which an `allow`, `ignore` or `expect` holds. A `deny` never ends: its day is only linted.
    #[serde(default, deserialize_with = "date")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub expires: Option<Date>,
    /// For `expect`: what skips it, with that reason. Where it is not given: `built-in` and `already-loaded`.
    #[schemars(with = "Option<Vec<Excuse>>")]
    pub skip: Option<Spanned<Vec<Excuse>>>,
}

/// A made-up load or request, and what the rules must say of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseEntry {
    /// What the case shows.
    pub name: String,
    /// The action wanted.
    pub want: Action,
    /// The rule that must decide; `default` is the policy's default.
    pub rule: Option<String>,
    /// The module; without it the case is a request that loaded nothing.
    pub module: Option<String>,
    /// What the kernel asked for.
    pub alias: Option<String>,
    /// How it ended: `loaded` with a module, else `not-found`, unless said otherwise.
    pub result: Option<String>,
    /// What made it load: `request` with an alias, else `explicit`, unless said otherwise.
    pub origin: Option<String>,
    /// User id: 0 unless said otherwise.
    #[serde(default)]
    pub uid: u32,
    /// Name of the user.
    pub user: Option<String>,
    /// Executable.
    pub exe: Option<String>,
    /// Name of the task.
    pub comm: Option<String>,
    /// Cgroup (v2) path.
    pub cgroup: Option<String>,
    /// Systemd unit.
    pub unit: Option<String>,
    /// Container.
    pub container: Option<String>,
    /// `initial` unless said otherwise.
    pub user_namespace: Option<String>,
    /// The day on which it happens: today unless said otherwise.
    #[serde(default, deserialize_with = "date")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub date: Option<Date>,
}

/// A pattern or number, or a list of them.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(transparent)]
pub(super) struct Patterns(#[schemars(with = "OneOrMany")] pub Spanned<Vec<String>>);

/// A pattern or number, or a list of them: their form in the file.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a pattern, a number, or a list of them")]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

/// A pattern or a number.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Scalar {
    Number(#[schemars(with = "u32")] i64),
    Pattern(String),
}

impl Scalar {
    fn into_pattern(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Pattern(pattern) => pattern,
        }
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Spanned::<OneOrMany>::deserialize(deserializer)?;
        let span = written.span();
        let patterns = match written.into_inner() {
            OneOrMany::One(one) => vec![one.into_pattern()],
            OneOrMany::Many(many) => many.into_iter().map(Scalar::into_pattern).collect(),
        };
        Ok(Self(Spanned::new(span, patterns)))
    }
}

/// A date of TOML, or the same as a string.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a date such as 2027-01-31")]
    enum Written {
        Toml(toml::value::Datetime),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Toml(datetime) => datetime.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map(Some).map_err(|_| de::Error::custom(format_args!("{text:?} is not a date such as 2027-01-31")))
}
