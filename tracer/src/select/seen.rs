//! The seen part of a value.

/// Number of bytes captured of the executable name of an ancestor (`ANCESTOR_EXE_BYTES` without its NUL): a name of this
/// length may be truncated.
const ANCESTOR_EXE_BYTES: usize = 31;

/// Maximum length of an alias that the kernel can request (`MODULE_NAME_LEN` without its NUL). A longer one is refused,
/// and may be truncated.
pub(super) const ALIAS_BYTES: usize = 55;

/// A value of a field, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen<'a> {
    /// The seen bytes.
    pub text: &'a [u8],
    /// The beginning is missing: complete directories of a path.
    pub lacks_front: bool,
    /// The end may be missing.
    pub lacks_end: bool,
}

impl<'a> Seen<'a> {
    /// A complete value.
    #[must_use]
    pub const fn complete(text: &'a [u8]) -> Self {
        Self { text, lacks_front: false, lacks_end: false }
    }

    /// A path; its beginning is missing if `is_truncated`, or if it is not absolute.
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

    /// Whether the value is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        !self.lacks_front && !self.lacks_end
    }
}
