//! String interner with bounded memory, since captures may be made to exhaust it.

use std::collections::HashMap;
use std::rc::Rc;

/// Maximum number of names.
const NAMES_LIMIT: usize = 1 << 17;

/// Maximum total size of the names, bytes.
const BYTES_LIMIT: usize = 8 << 20;

/// The id of an interned name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(u32);

impl NameId {
    /// All names beyond the limit.
    pub const OVERFLOW: Self = Self(0);
    /// No name.
    pub const NONE: Self = Self(1);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The rank of each name in sorted order.
#[derive(Debug)]
pub(super) struct Ranks(Vec<usize>);

impl Ranks {
    /// The rank of a name; different names have different ranks.
    pub(super) fn of(&self, id: NameId) -> usize {
        self.0.get(id.index()).copied().unwrap_or(usize::MAX)
    }
}

/// Interned names.
#[derive(Debug)]
pub struct Interner {
    ids: HashMap<Rc<[u8]>, NameId>,
    names: Vec<Rc<[u8]>>,
    bytes: usize,
    limit: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self::with_limit(NAMES_LIMIT)
    }
}

impl Interner {
    /// Creates an interner for at most `limit` names.
    pub(super) fn with_limit(limit: usize) -> Self {
        let nothing: Rc<[u8]> = Rc::from(&b""[..]);
        Self { ids: HashMap::new(), names: vec![nothing.clone(), nothing], bytes: 0, limit }
    }

    /// Interns a name.
    pub fn id(&mut self, name: &[u8]) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let Ok(next) = u32::try_from(self.names.len()) else { return NameId::OVERFLOW };
        if self.ids.len() >= self.limit || self.bytes + name.len() > BYTES_LIMIT {
            return NameId::OVERFLOW;
        }
        self.bytes += name.len();
        let (name, id): (Rc<[u8]>, NameId) = (Rc::from(name), NameId(next));
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }

    /// Interns a name that may be absent.
    pub fn optional(&mut self, name: Option<&[u8]>) -> NameId {
        name.map_or(NameId::NONE, |name| self.id(name))
    }

    /// The rank of each name. Sorting by ranks avoids comparing names, which may be long.
    pub(super) fn ranks(&self) -> Ranks {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|one, other| self.names.get(*one).cmp(&self.names.get(*other)));
        let mut ranks = vec![0; order.len()];
        for (place, number) in order.into_iter().enumerate() {
            if let Some(rank) = ranks.get_mut(number) {
                *rank = place;
            }
        }
        Ranks(ranks)
    }

    /// The name of an id; empty for [`NameId::OVERFLOW`] and [`NameId::NONE`].
    #[must_use]
    pub fn name(&self, id: NameId) -> &[u8] {
        self.names.get(id.index()).map_or(&[], |name| name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Interner, NameId};

    /// Each name has one id, no name and the empty name differ, and names beyond the limit are the overflow.
    #[test]
    fn interned_names_have_one_id() {
        let mut names = Interner::with_limit(3);
        let [one, empty] = [names.id(b"one"), names.id(b"")];
        assert_eq!((names.id(b"one"), names.id(b""), names.optional(None)), (one, empty, NameId::NONE));
        assert_ne!(empty, NameId::NONE);
        assert_eq!(names.id(b"three"), names.id(b"three"));
        assert_eq!((names.id(b"four"), names.id(b"one")), (NameId::OVERFLOW, one));
        assert_eq!((names.name(one), names.name(NameId::OVERFLOW)), (&b"one"[..], &b""[..]));
    }

    /// Ranks sort as the names do and are distinct.
    #[test]
    fn ranks_sort_like_names() {
        let mut names = Interner::default();
        let ids = ["b", "a", "", "ab"].map(|name| names.id(name.as_bytes()));
        let ranks = names.ranks();
        let [b, a, empty, ab] = ids.map(|id| ranks.of(id));
        assert!(empty < a && a < ab && ab < b);
        assert_ne!(ranks.of(NameId::NONE), ranks.of(NameId::OVERFLOW));
    }
}
