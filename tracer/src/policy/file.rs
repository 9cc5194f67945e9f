//! The format of policy files: TOML without unknown keys, every value with its position.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

/// Version of the policy file format: its `version` key.
pub const POLICY_VERSION: u32 = 1;

/// A policy for what the kernel may load.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "kmodtrace policy")]
pub(super) struct PolicyFile {
    /// Version of this format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub version: Spanned<u32>,
    /// Further policy files, relative to this one. Their rules follow the rules of this file.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub include: Vec<Spanned<String>>,
    /// The action for a loaded module that no rule matches (default: `deny`).
    pub default: Option<Default>,
    /// The action for a request that loaded nothing and that no rule matches (default: `allow`).
    pub default_unloaded: Option<Default>,
    /// The rules, in order: the first matching rule decides.
    #[serde(default)]
    #[schemars(with = "Vec<RuleEntry>")]
    pub rule: Vec<Spanned<RuleEntry>>,
    /// Test cases with made-up loads and requests, run by `policy test`.
    #[serde(default)]
    #[schemars(with = "Vec<CaseEntry>")]
    pub case: Vec<Spanned<CaseEntry>>,
}

/// The action if no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Default {
    /// It is allowed.
    Allow,
    /// It violates the policy.
    Deny,
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// It is allowed.
    Allow,
    /// It violates the policy.
    Deny,
    /// It is allowed, and it must happen: without it the policy is violated.
    Expect,
    /// It is neither judged nor counted as allowed.
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

/// A reason why an expectation cannot be met, for which a rule may skip it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The module is built into the kernel (`=y`).
    BuiltIn,
    /// The module was loaded before tracing began.
    AlreadyLoaded,
    /// The kernel has no such module, or no module with this alias.
    Missing,
}

impl SkipReason {
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

/// One rule. All given keys must match; a rule without keys matches everything.
///
/// Patterns support `*`, `?` and `[...]`; a list matches if one of its patterns does, and a pattern with a leading `!`
/// excludes what it matches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    /// Its name in all outputs (default: made of its keys).
    #[schemars(with = "Option<String>")]
    pub name: Option<Spanned<String>>,
    /// Its action.
    pub action: Action,
    /// Modules, dependencies included. A request that loaded nothing has none.
    pub module: Option<Patterns>,
    /// The requested alias. An explicit load has none.
    pub alias: Option<Patterns>,
    /// Family of the alias, as named by `kmodtrace explain`: "socket family".
    pub family: Option<Patterns>,
    /// Outcome of the request: `loaded`, `not-found`, `blocklisted` and so on; of a module `loaded` or `failed`.
    pub result: Option<Patterns>,
    /// Origin of the load: `request`, `explicit` or `udev`.
    pub origin: Option<Patterns>,
    /// Real user id of the requester, in the initial user namespace.
    pub uid: Option<Patterns>,
    /// Name of that user.
    pub user: Option<Patterns>,
    /// The user who logged in, kept across su and sudo (audit login uid): number, name, or `none`.
    pub login: Option<Patterns>,
    /// Executable of the requester.
    pub exe: Option<Patterns>,
    /// Task name of the requester: any process can choose its own.
    pub comm: Option<Patterns>,
    /// Cgroup (v2) path.
    pub cgroup: Option<Patterns>,
    /// Systemd unit.
    pub unit: Option<Patterns>,
    /// Container: `<runtime>:<id>`.
    pub container: Option<Patterns>,
    /// `initial`, or `other` for a user namespace below it.
    pub user_namespace: Option<Patterns>,
    /// Why the rule exists: printed with every violation.
    pub reason: Option<String>,
    /// The last day (UTC) on which an `allow`, `ignore` or `expect` rule applies. A `deny` rule never expires: its day is
    /// only linted.
    #[serde(default, deserialize_with = "date")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub expires: Option<Date>,
    /// For `expect`: the reasons for which it is skipped (default: `built-in` and `already-loaded`).
    #[schemars(with = "Option<Vec<SkipReason>>")]
    pub skip: Option<Spanned<Vec<SkipReason>>>,
}

/// A made-up load or request, and what the rules must decide.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseEntry {
    /// Description of the case.
    pub name: String,
    /// The expected action.
    pub want: Action,
    /// The rule that must decide; `default` is the policy's default.
    pub rule: Option<String>,
    /// The module; without it, the case is a request that loaded nothing.
    pub module: Option<String>,
    /// The requested alias.
    pub alias: Option<String>,
    /// The outcome (default: `loaded` with a module, else `not-found`).
    pub result: Option<String>,
    /// The origin (default: `request` with an alias, else `explicit`).
    pub origin: Option<String>,
    /// User id (default: 0).
    #[serde(default)]
    pub uid: u32,
    /// Name of the user.
    pub user: Option<String>,
    /// The user who logged in: a name, or `none` (default: `none`).
    pub login: Option<String>,
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
    /// `initial` or `other` (default: `initial`).
    pub user_namespace: Option<String>,
    /// The day on which it happens (default: today).
    #[serde(default, deserialize_with = "date")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub date: Option<Date>,
}

/// A pattern or number, or a list of them.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(transparent)]
pub(super) struct Patterns(#[schemars(with = "OneOrMany")] pub Spanned<Vec<String>>);

/// A pattern or number, or a list of them, as in the file.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "invalid value: expected a pattern, a number, or a list of them")]
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

/// A TOML date, or the same as a string.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "invalid date: expected e.g. 2027-01-31")]
    enum Written {
        Toml(toml::value::Datetime),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Toml(datetime) => datetime.to_string(),
        Written::Text(text) => text,
    };
    text.parse()
        .map(Some)
        .map_err(|_| de::Error::custom(format_args!("invalid date {text:?}: expected e.g. 2027-01-31")))
}
