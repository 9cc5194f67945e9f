//! A pattern of a field: a glob, optionally negated, that is validated when it is parsed.

use super::{Field, NO_LOGIN, Seen};
use crate::{
    event::{Origin, Status, Text},
    glob::{self, Match, Places},
    modules::families::Family,
};

/// An invalid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It is empty.
    #[error("invalid pattern \"\": expected a name, a glob (*, ?, [a-z]), or !PATTERN for all others")]
    Empty,
    /// Unbalanced brackets.
    #[error("invalid pattern {pattern:?}: expected balanced brackets, and [[] for a literal bracket")]
    Bracket {
        /// The pattern.
        pattern: String,
    },
    /// A process id that is not a number.
    #[error("invalid process id {pattern:?}: expected a number")]
    NotANumber {
        /// The pattern.
        pattern: String,
    },
    /// A pattern that no value of the field can match.
    #[error("invalid {field} pattern {pattern:?}, which can never match: expected {expected}")]
    Impossible {
        /// The field.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// The form of the field's values.
        expected: &'static str,
    },
    /// A name that the field does not have.
    #[error("invalid {field} {pattern:?}: expected one of {}", known.join(", "))]
    Unknown {
        /// The field.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// The known names.
        known: Vec<&'static str>,
    },
}

impl PatternError {
    /// The error without the pattern, for messages that already contain it: `expected a number`.
    #[must_use]
    pub fn expectation(&self) -> String {
        let text = self.to_string();
        let at = text.rfind(": expected ").map_or(0, |colon| colon + 2);
        text.get(at..).unwrap_or_default().to_owned()
    }
}

/// A glob for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    field: Field,
    is_negated: bool,
    /// The text without the negation.
    text: String,
    /// The normalized text for comparison.
    glob: Vec<u8>,
}

impl Pattern {
    /// Parses `[!]GLOB`.
    ///
    /// # Errors
    /// If no value of the field can match; the error says what to write instead.
    pub fn new(field: Field, text: &str) -> Result<Self, PatternError> {
        let (is_negated, glob) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if glob.is_empty() {
            return Err(PatternError::Empty);
        }
        let unbalanced = || PatternError::Bracket { pattern: text.to_owned() };
        let normal = glob::normalize(glob.as_bytes()).ok_or_else(unbalanced)?;
        let pattern = Self {
            field,
            is_negated,
            text: glob.to_owned(),
            glob: match field {
                Field::Module | Field::Alias => normal,
                Field::Family => glob.to_ascii_lowercase().into_bytes(),
                _ => glob.as_bytes().to_vec(),
            },
        };
        pattern.check()?;
        Ok(pattern)
    }

    fn check(&self) -> Result<(), PatternError> {
        if let Some(expected) = self.impossible() {
            return Err(PatternError::Impossible { field: self.field.name(), pattern: self.text.clone(), expected });
        }
        let known = match self.field {
            Field::Pid if !self.text.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(PatternError::NotANumber { pattern: self.text.clone() });
            }
            Field::Result => Status::ALL.iter().map(|status| status.name()).collect(),
            Field::Origin => Origin::ALL.iter().map(|origin| origin.name()).collect(),
            Field::Family => {
                let mut names: Vec<&str> = Family::all().iter().map(|family| family.name).collect();
                names.sort_unstable();
                names.dedup();
                names
            }
            _ => return Ok(()),
        };
        if known.iter().any(|name| self.fits(name.as_bytes())) {
            return Ok(());
        }
        Err(PatternError::Unknown { field: self.field.name(), pattern: self.text.clone(), known })
    }

    /// The form of the field's values, if no value can match.
    fn impossible(&self) -> Option<&'static str> {
        let glob = self.glob.as_slice();
        let any = |allowed: &dyn Fn(u8) -> bool| Places::start(glob).any(allowed).is_end();
        if !any(&|byte| byte != 0) {
            return Some("no NUL byte");
        }
        match self.field {
            Field::Module if has_suffix(self.text.as_bytes()) => Some("a module name as printed by lsmod, without .ko"),
            Field::Module if !any(&is_module_byte) => {
                Some("a module name without spaces, control characters, commas and slashes")
            }
            Field::Module if glob::shortest(glob) > MODULE_BYTES_MAX => Some("a module name of at most 55 bytes"),
            Field::Comm if glob::shortest(glob) > COMM_BYTES_MAX => Some("a task name of at most 15 bytes"),
            Field::Exe if glob.contains(&b'/') && !glob::can_be_path(glob) => {
                Some("an absolute path without // and without / at the end, or its last component without /")
            }
            Field::Cgroup if !any(&|byte| !matches!(byte, 0 | b'\n')) => Some("a path on one line"),
            Field::Cgroup if !glob::can_be_path(glob) => Some("an absolute path without // and without / at the end"),
            Field::Unit if !is_unit(glob) => Some(
                "a unit name of letters, digits and :-_.\\@ that ends in .service, .scope, .socket, .mount or .swap",
            ),
            Field::Container if !any(&is_container_byte) => Some("RUNTIME:ID or ID, of letters, digits and -_.:"),
            Field::Pid if is_number(&self.text) && !glob::can_be_number(glob) => {
                Some("a 32-bit number without leading zeros")
            }
            // A user is a number or a name.
            Field::Uid if is_number(&self.text) && !glob::can_be_number(glob) => {
                Some("a 32-bit number without leading zeros, or a name")
            }
            Field::Login if self.text == UNSET_LOGIN => Some("none for processes without a login"),
            Field::Login if is_number(&self.text) && !glob::can_be_number(glob) => {
                Some("a 32-bit number without leading zeros, a name, or none")
            }
            Field::Uid | Field::Login if !any(&|byte| !matches!(byte, 0 | b':' | b'\n')) => {
                Some("a user name without colon, on one line")
            }
            _ => None,
        }
    }

    /// The field.
    #[must_use]
    pub const fn field(&self) -> Field {
        self.field
    }

    /// Whether it is negated.
    #[must_use]
    pub const fn is_negated(&self) -> bool {
        self.is_negated
    }

    /// The text without the negation.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a value matches the glob; the selector applies the negation.
    #[must_use]
    pub fn fits(&self, value: &[u8]) -> bool {
        match self.field {
            // Modules and aliases with `-` and `_` are equal, as in modprobe.
            Field::Module | Field::Alias => {
                let normal = glob::normalize(value);
                glob::matches(&self.glob, normal.as_deref().unwrap_or(value))
            }
            Field::Family => glob::matches(&self.glob, &value.to_ascii_lowercase()),
            Field::Exe if !self.glob.contains(&b'/') => {
                let base = value.rsplit(|byte| *byte == b'/').next().unwrap_or(value);
                glob::matches(&self.glob, base)
            }
            Field::Container => self.fits_container(value),
            _ => glob::matches(&self.glob, value),
        }
    }

    /// Compares the seen part of a value; the selector applies the negation.
    #[must_use]
    pub fn compare(&self, seen: Seen<'_>) -> Match {
        if seen.is_complete() {
            return Match::certain(self.fits(seen.text));
        }
        let in_name = |byte| byte != b'/' && byte != 0;
        match self.field {
            Field::Exe if !self.glob.contains(&b'/') => {
                let base = seen.text.rsplit(|byte| *byte == b'/').next().unwrap_or(seen.text);
                if seen.lacks_end {
                    glob::match_beginning(&self.glob, base, &in_name)
                } else {
                    Match::certain(glob::matches(&self.glob, base))
                }
            }
            Field::Exe | Field::Cgroup if seen.lacks_front => {
                glob::match_path_end(&self.glob, seen.text, seen.lacks_end)
            }
            Field::Exe | Field::Cgroup => glob::match_beginning(&self.glob, seen.text, &in_name),
            Field::Alias if !seen.lacks_front => {
                let normal = glob::normalize(seen.text);
                let begin = normal.as_deref().unwrap_or(seen.text);
                glob::match_beginning(&self.glob, begin, &|byte| byte != 0)
            }
            // The number is known, and only the name was not seen.
            Field::Login if is_number(&self.text) || self.text == NO_LOGIN => Match::No,
            _ => Match::Maybe,
        }
    }

    /// Whether an unseen value may match. The number of a user is always known: only the name may be missing.
    #[must_use]
    pub fn may_be_unseen(&self) -> bool {
        self.field != Field::Uid || !is_number(&self.text)
    }

    /// Matches `runtime:id`, the id alone, or its first twelve digits, as container engines print them.
    fn fits_container(&self, value: &[u8]) -> bool {
        let id = value.split(|byte| *byte == b':').next_back().unwrap_or(value);
        let is_short = self.glob.len() >= SHORT_ID_BYTES && id.starts_with(&self.glob);
        is_short || glob::matches(&self.glob, value) || glob::matches(&self.glob, id)
    }
}

/// The audit login uid of a process without a login.
const UNSET_LOGIN: &str = "4294967295";

/// Maximum length of a module name, bytes: `MODULE_NAME_LEN` without its NUL, include/linux/module.h.
const MODULE_BYTES_MAX: usize = 55;

/// Maximum length of a task name, bytes: `TASK_COMM_LEN` without its NUL, include/linux/sched.h.
const COMM_BYTES_MAX: usize = 15;

impl Field {
    /// Maximum length of a value, bytes.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Module => MODULE_BYTES_MAX,
            Self::Comm => COMM_BYTES_MAX,
            _ => usize::MAX,
        }
    }

    /// Whether a pattern may contain a byte of a value literally: some bytes occur only in forged captures, so no pattern
    /// contains them.
    pub(crate) fn may_have(self, value: &[u8], at: usize) -> bool {
        let byte = value.get(at).copied().unwrap_or_default();
        let is_last = at + 1 == value.len();
        match self {
            Self::Module => is_module_byte(byte) && !(is_last && has_suffix(value)),
            Self::Exe if byte == b'/' => at == 0 || !(is_last || value.get(at - 1) == Some(&b'/')),
            _ => byte != 0,
        }
    }
}

/// The module name that the kernel's build derives from a file name: `-` and `,` become `_` (scripts/Makefile.lib).
const fn is_module_byte(byte: u8) -> bool {
    !matches!(byte, 0..=b' ' | b',' | b'/' | 0x7f)
}

/// The name in the path of a module file.
fn has_suffix(name: &[u8]) -> bool {
    [&b".ko"[..], b".ko.gz", b".ko.xz", b".ko.zst"].iter().any(|suffix| name.ends_with(suffix))
}

const fn is_container_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
}

/// Whether a systemd unit with processes can match the pattern.
fn is_unit(glob: &[u8]) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte);
    let any = Places::start(glob).any(&is_valid);
    ["service", "scope", "socket", "mount", "swap"].iter().any(|kind| {
        let suffix = format!(".{kind}");
        any.clone().bytes(suffix.as_bytes()).is_end()
    })
}

/// Whether a pattern for users matches numbers.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits of a container id that container engines print.
const SHORT_ID_BYTES: usize = 12;

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.is_negated { "!" } else { "" }, Text::from(self.text.as_str()).field())
    }
}
