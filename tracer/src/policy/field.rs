//! The fields that a rule can match.

use super::value::FieldValue;
use crate::select;

macro_rules! fields {
    ($($variant:ident $name:literal $selects:ident,)*) => {
        /// A key of a rule that must match.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) enum Field { $($variant,)* }

        impl Field {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The selector field with the same patterns.
            pub(super) const fn selects(self) -> select::Field {
                match self { $(Self::$variant => select::Field::$selects),* }
            }
        }
    };
}

fields! {
    Module "module" Module,
    Alias "alias" Alias,
    Family "family" Family,
    Result "result" Result,
    Origin "origin" Origin,
    Uid "uid" Uid,
    User "user" Uid,
    Login "login" Login,
    Exe "exe" Exe,
    Comm "comm" Comm,
    Cgroup "cgroup" Cgroup,
    Unit "unit" Unit,
    Container "container" Container,
    UserNamespace "user_namespace" Comm,
}

/// Some of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(u32);

impl Fields {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: Self = Self(u32::MAX);

    /// The same with another.
    #[must_use]
    pub(super) const fn with(self, field: Field) -> Self {
        Self(self.0 | 1 << field as u32)
    }

    pub(super) const fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u32 != 0
    }
}

/// The values of fields of one load or request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldValues([FieldValue; Field::ALL.len()]);

impl FieldValues {
    /// Returns a copy with the value of a field, if that field is wanted.
    pub(super) fn with_wanted(self, wanted: Fields, field: Field, value: impl FnOnce() -> FieldValue) -> Self {
        if wanted.contains(field) { self.with(field, value()) } else { self }
    }

    /// Returns a copy with another value.
    pub(super) fn with(mut self, field: Field, value: FieldValue) -> Self {
        self.0[field as usize] = value;
        self
    }

    pub(super) fn get(&self, field: Field) -> &FieldValue {
        &self.0[field as usize]
    }
}
