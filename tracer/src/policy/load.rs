//! Reads policy files: includes, and errors with file, line and column.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use toml::Spanned;

use super::{
    field::{Field, FieldValues},
    file::{Action, CaseEntry, Default, POLICY_VERSION, Patterns, PolicyFile, RuleEntry, SkipReason},
    lint::{Lint, NEVER_MATCHES},
    pattern::PatternSet,
    rule::{Case, Place, Policy, Rule},
    value::FieldValue,
};
use crate::{
    event::{Origin, Status, Text},
    glob,
    modules::families,
    select::{NO_LOGIN, PatternError},
};

/// Maximum number of files in one policy.
const FILES_LIMIT: usize = 256;

/// Maximum size of a policy file, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The name of the default in outputs.
pub const DEFAULT_RULE: &str = "default";

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file cannot be read.
    #[error("cannot read the policy {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is not a policy.
    #[error("{place}: {message}")]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// A pattern that can never match: its rule would silently pass everything, or never allow what it should.
    #[error("{place}: {message}")]
    NeverMatches {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// Too many files.
    #[error("cannot read the policy {}: it includes more than {FILES_LIMIT} files", path.display())]
    TooManyFiles {
        /// The main file.
        path: PathBuf,
    },
}

/// Reads a policy with all its includes.
///
/// # Errors
/// If a file cannot be read or is invalid.
pub fn load(path: &Path) -> Result<Policy, PolicyError> {
    let mut loader = Loader { read: &read, ..Loader::new() };
    loader.file(path)?;
    loader.finish(path)
}

/// As [`load`], for linting: rules with patterns that can never match are omitted and reported instead of being an error.
///
/// # Errors
/// As [`load`], except [`PolicyError::NeverMatches`].
pub fn load_for_lint(path: &Path) -> Result<(Policy, Vec<Lint>), PolicyError> {
    let mut never = Vec::new();
    let mut loader = Loader { read: &read, never: Some(&mut never), ..Loader::new() };
    loader.file(path)?;
    let policy = loader.finish(path)?;
    Ok((policy, never))
}

/// Reads a file, or a pipe up to its end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return Err(io::Error::other("it is neither a file nor a pipe"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// Parses a policy from text; it may not include files.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, name: &str) -> Result<Policy, PolicyError> {
    let only = |path: &Path| {
        if path == Path::new(name) { Ok(text.as_bytes().to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    let mut loader = Loader { read: &only, ..Loader::new() };
    loader.file(Path::new(name))?;
    loader.finish(Path::new(name))
}

struct Loader<'a> {
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Receives rules that can never match; without it, these are errors.
    never: Option<&'a mut Vec<Lint>>,
    /// Files that were read already: repeated includes add nothing.
    seen: HashSet<PathBuf>,
    names: HashSet<String>,
    /// The next number for a generated name that is used more than once.
    numbers: HashMap<String, u64>,
    rules: Vec<Rule>,
    cases: Vec<Case>,
    default: Option<Default>,
    default_unloaded: Option<Default>,
}

impl Loader<'_> {
    fn new() -> Self {
        Self {
            read: &|_| Err(io::ErrorKind::NotFound.into()),
            never: None,
            seen: HashSet::new(),
            names: HashSet::from([DEFAULT_RULE.to_owned()]),
            numbers: HashMap::new(),
            rules: Vec::new(),
            cases: Vec::new(),
            default: None,
            default_unloaded: None,
        }
    }

    fn finish(self, path: &Path) -> Result<Policy, PolicyError> {
        let action = |default: Option<Default>, otherwise| match default {
            Some(Default::Allow) => Action::Allow,
            Some(Default::Deny) => Action::Deny,
            None => otherwise,
        };
        for case in &self.cases {
            if let Some(rule) = case.rule.as_ref().filter(|rule| !self.names.contains(*rule)) {
                let message = format!(
                    "invalid rule {rule:?} in the case {:?}: expected the name of a rule in this policy",
                    case.name
                );
                return Err(PolicyError::Invalid { place: case.place.clone(), message });
            }
        }
        Ok(Policy {
            file: path.display().to_string(),
            rules: self.rules,
            default: action(self.default, Action::Deny),
            default_unloaded: action(self.default_unloaded, Action::Allow),
            cases: self.cases,
        })
    }

    fn file(&mut self, path: &Path) -> Result<(), PolicyError> {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(identity) {
            return Ok(());
        }
        if self.seen.len() > FILES_LIMIT {
            return Err(PolicyError::TooManyFiles { path: path.to_owned() });
        }
        let bytes = (self.read)(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        let good = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let source = Source::new(path.display().to_string(), good);
        if good.len() < bytes.len() {
            return Err(source.wrong(good.len()..good.len(), "invalid byte: expected UTF-8"));
        }
        let file: PolicyFile =
            toml::from_str(good).map_err(|error| source.wrong(error.span().unwrap_or(0..0), plain(error.message())))?;

        if *file.version.get_ref() != POLICY_VERSION {
            let message = format!("unsupported version {}: expected {POLICY_VERSION}", file.version.get_ref());
            return Err(source.wrong(file.version.span(), message));
        }
        self.default = self.default.or(file.default);
        self.default_unloaded = self.default_unloaded.or(file.default_unloaded);
        for entry in file.rule {
            match (self.rule(entry, &source), self.never.as_deref_mut()) {
                (Err(PolicyError::NeverMatches { place, message }), Some(never)) => {
                    never.push(Lint { place, kind: NEVER_MATCHES, message });
                }
                (rule, _) => self.rules.push(rule?),
            }
        }
        for entry in file.case {
            self.cases.push(case(entry, &source)?);
        }
        for include in file.include {
            let directory = path.parent().unwrap_or(Path::new(""));
            self.file(&directory.join(include.get_ref())).map_err(|error| match error {
                PolicyError::Read { path, source: cause } => {
                    source.wrong(include.span(), format!("cannot include {}: {cause}", path.display()))
                }
                other => other,
            })?;
        }
        Ok(())
    }

    fn rule(&mut self, entry: Spanned<RuleEntry>, source: &Source<'_>) -> Result<Rule, PolicyError> {
        let span = entry.span();
        let entry = entry.into_inner();
        let tests = tests(&entry, source)?;
        let name = match &entry.name {
            Some(name) => {
                let text = name.get_ref();
                if text.trim().is_empty() {
                    return Err(source.wrong(name.span(), "invalid name \"\": expected at least one character"));
                }
                if !self.names.insert(text.clone()) {
                    return Err(
                        source.wrong(name.span(), format!("duplicate rule name {text:?}: expected a unique name"))
                    );
                }
                text.clone()
            }
            None => self.unused_name(&Rule::describe(entry.action, &tests)),
        };
        if let (Some(skip), false) = (&entry.skip, entry.action == Action::Expect) {
            return Err(source.wrong(skip.span(), "invalid key `skip`: expected only with the action `expect`"));
        }
        Ok(Rule {
            name,
            action: entry.action,
            place: source.place(span.start),
            reason: entry.reason,
            expires: entry.expires,
            skip: entry.skip.map_or_else(|| vec![SkipReason::BuiltIn, SkipReason::AlreadyLoaded], Spanned::into_inner),
            tests,
        })
    }

    /// Generates a unique name.
    fn unused_name(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let number = self.numbers.entry(candidate.clone()).or_insert(2);
        while !self.names.insert(candidate.clone()) {
            candidate = format!("{name} ({number})");
            *number += 1;
        }
        candidate
    }
}

/// A file's name and text.
struct Source<'a> {
    name: String,
    text: &'a str,
    /// The offsets of its lines.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(name: String, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { name, text, lines }
    }

    fn place(&self, byte: usize) -> Place {
        let byte = if self.text.is_char_boundary(byte) { byte } else { self.text.len() };
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..byte).unwrap_or_default().chars().count() + 1;
        Place { file: self.name.clone(), line, column }
    }

    fn never(&self, span: Range<usize>, message: String) -> PolicyError {
        PolicyError::NeverMatches { place: self.place(span.start), message }
    }

    fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> PolicyError {
        // Messages of the parser may have several lines.
        let message = message.into().replace('\n', ", ");
        PolicyError::Invalid { place: self.place(span.start), message }
    }
}

/// The parser's message in the words of the documentation.
fn plain(message: &str) -> String {
    message
        .replace("unknown field", "unknown key")
        .replace("missing field", "missing key")
        .replace("duplicate field", "duplicate key")
        .replace("unknown variant", "unknown value")
        .replace("invalid type", "invalid value")
        .replace("expected u32", "expected a number")
        .replace("expected a sequence", "expected a list")
        .replace("expected a map", "expected a table")
}

fn tests(entry: &RuleEntry, source: &Source<'_>) -> Result<Vec<(Field, PatternSet)>, PolicyError> {
    let keys = [
        (Field::Module, &entry.module),
        (Field::Alias, &entry.alias),
        (Field::Family, &entry.family),
        (Field::Result, &entry.result),
        (Field::Origin, &entry.origin),
        (Field::Uid, &entry.uid),
        (Field::User, &entry.user),
        (Field::Login, &entry.login),
        (Field::Exe, &entry.exe),
        (Field::Comm, &entry.comm),
        (Field::Cgroup, &entry.cgroup),
        (Field::Unit, &entry.unit),
        (Field::Container, &entry.container),
        (Field::UserNamespace, &entry.user_namespace),
    ];
    let mut tests = Vec::new();
    for (field, patterns) in keys {
        let Some(Patterns(written)) = patterns else { continue };
        let wrong = |message: String| source.wrong(written.span(), message);
        let never = |message: String| source.never(written.span(), message);
        let set = PatternSet::parse(field, written.get_ref()).map_err(|error| match error {
            PatternError::Impossible { .. } => never(error.to_string()),
            _ => wrong(error.to_string()),
        })?;
        for glob in set.globs() {
            let names = [INITIAL, OTHER];
            if field == Field::UserNamespace && !names.iter().any(|name| glob.matches(&Text::from(*name))) {
                return Err(wrong(format!("invalid user namespace {glob}: expected one of {}", names.join(", "))));
            }
            if field == Field::Uid && !glob::can_be_number(glob.text().as_bytes()) {
                let expected = "expected a 32-bit number without leading zeros; names belong to the key `user`";
                return Err(never(format!("invalid user id {glob}: {expected}")));
            }
            if field == Field::User && glob.text().bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(never(format!(
                    "invalid user name {glob}: expected a name; numbers belong to the key `uid`"
                )));
            }
        }
        tests.push((field, set));
    }
    Ok(tests)
}

/// All possible values of a field of a case; empty if there are many.
fn known_values(field: Field) -> Vec<&'static str> {
    match field {
        Field::Result => Status::ALL.iter().map(|status| status.name()).collect(),
        Field::Origin => Origin::ALL.iter().map(|origin| origin.name()).collect(),
        Field::UserNamespace => vec![INITIAL, OTHER],
        _ => Vec::new(),
    }
}

/// The initial user namespace.
pub(super) const INITIAL: &str = "initial";

/// Any other user namespace.
pub(super) const OTHER: &str = "other";

fn case(entry: Spanned<CaseEntry>, source: &Source<'_>) -> Result<Case, PolicyError> {
    let span = entry.span();
    let entry = entry.into_inner();
    let place = source.place(span.start);
    let is_load = entry.module.is_some();
    let value = |text: Option<String>| text.map_or_else(FieldValue::default, FieldValue::is);
    let one_of = |field: Field, text: Option<String>, otherwise: &str| {
        let text = text.unwrap_or_else(|| otherwise.to_owned());
        if known_values(field).contains(&text.as_str()) {
            return Ok(FieldValue::is(text));
        }
        let message = format!("invalid {} {text:?}: expected one of {}", field.name(), known_values(field).join(", "));
        Err(PolicyError::Invalid { place: place.clone(), message })
    };
    if !is_load && entry.alias.is_none() {
        return Err(source.wrong(span, "incomplete case: expected `module`, `alias`, or both"));
    }
    let family = entry.alias.as_ref().and_then(|alias| families::find(&Text::from(alias.as_str())));
    let family = family.map(|found| found.family.name.to_owned());
    let field_values = FieldValues::default()
        .with(Field::Result, one_of(Field::Result, entry.result, if is_load { "loaded" } else { "not-found" })?)
        .with(
            Field::Origin,
            one_of(Field::Origin, entry.origin, if entry.alias.is_some() { "request" } else { "explicit" })?,
        )
        .with(Field::UserNamespace, one_of(Field::UserNamespace, entry.user_namespace, INITIAL)?)
        .with(Field::Module, value(entry.module))
        .with(Field::Alias, value(entry.alias))
        .with(Field::Family, value(family))
        .with(Field::Uid, FieldValue::is(entry.uid.to_string()))
        .with(Field::User, value(entry.user))
        .with(Field::Login, FieldValue::is(entry.login.unwrap_or_else(|| NO_LOGIN.to_owned())))
        .with(Field::Exe, value(entry.exe))
        .with(Field::Comm, value(entry.comm))
        .with(Field::Cgroup, value(entry.cgroup))
        .with(Field::Unit, value(entry.unit))
        .with(Field::Container, value(entry.container));
    Ok(Case { name: entry.name, place, want: entry.want, rule: entry.rule, field_values, is_load, date: entry.date })
}
