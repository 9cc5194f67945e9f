//! What was seen of a value.

/// How many bytes the kernel side keeps of the name of an ancestor's executable (`ANCESTOR_EXE_BYTES` without its NUL):
/// a name of this length may be the beginning of a longer one.
const ANCESTOR_EXE_BYTES: usize = 31;

/// How many bytes an alias has at most that the kernel can ask for (`MODULE_NAME_LEN` without its NUL). Of a longer one,
/// which is refused, the end may be missing.
pub(super) const ALIAS_BYTES: usize = 55;

/// A value of a field, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen<'a> {
    /// The bytes that were seen.
    pub text: &'a [u8],
    /// What stands in front of them is missing: whole directories of a path.
    pub lacks_front: bool,
    /// More bytes may follow.
    pub lacks_end: bool,
}

impl<'a> Seen<'a> {
    /// All of a value.
    #[must_use]
    pub const fn whole(text: &'a [u8]) -> Self {
        Self { text, lacks_front: false, lacks_end: false }
    }

    /// A path, of which the front is missing when `is_truncated` says so or when it is not absolute.
    #[must_use]
    pub fn path(text: &'a [u8], is_truncated: bool) -> Self {
        Self { text, lacks_front: is_truncated || !text.starts_with(b"/"), lacks_end: false }
    }

    /// The executable of an ancestor: the last component of its path.
    #[must_use]
    pub fn ancestor_exe(text: &'a [u8]) -> Self {
        Self { lacks_end: text.len() >= ANCESTOR_EXE_BYTES, ..Self::path(text, false) }
    }

    /// An alias.
    #[must_use]
    pub const fn alias(text: &'a [u8]) -> Self {
        Self { text, lacks_front: false, lacks_end: text.len() > ALIAS_BYTES }
    }

    /// Whether it is all of the value.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !self.lacks_front && !self.lacks_end
    }
}
