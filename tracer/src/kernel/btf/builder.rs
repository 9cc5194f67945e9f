//! Builds small BTF blobs for tests.

use super::read::Kind;

/// A blob under construction.
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// A member: name, type id, bit offset, bitfield width.
pub(crate) type BuilderMember<'a> = (&'a str, u32, u32, u32);

impl Builder {
    pub(crate) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], count: 0 }
    }

    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = self.strings.len();
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        u32::try_from(offset).unwrap()
    }

    /// Adds a type of any kind and returns its id.
    pub(crate) fn raw(&mut self, kind: u32, kind_flag: bool, name: &str, size_or_type: u32, tail: &[[u32; 3]]) -> u32 {
        self.add(kind, kind_flag, name, size_or_type, u32::try_from(tail.len()).unwrap(), &tail.concat())
    }

    fn add(&mut self, kind: u32, kind_flag: bool, name: &str, size_or_type: u32, vlen: u32, tail: &[u32]) -> u32 {
        let name = self.string(name);
        let info = u32::from(kind_flag) << 31 | kind << 24 | vlen;
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, name: &str, size_bytes: u32, bits: u32) -> u32 {
        self.add(1, false, name, size_bytes, 0, &[bits])
    }

    pub(crate) fn ptr(&mut self, to: u32) -> u32 {
        self.add(2, false, "", to, 0, &[])
    }

    pub(crate) fn array(&mut self, element: u32, count: u32) -> u32 {
        self.add(3, false, "", 0, 0, &[element, 1, count])
    }

    /// A typedef or qualifier.
    pub(in crate::kernel::btf) fn alias(&mut self, kind: Kind, name: &str, to: u32) -> u32 {
        let kind = match kind {
            Kind::Typedef => 8,
            Kind::Volatile => 9,
            Kind::Const => 10,
            Kind::Restrict => 11,
            Kind::TypeTag => 18,
            other => panic!("{other:?} is not a typedef or qualifier"),
        };
        self.add(kind, false, name, to, 0, &[])
    }

    pub(crate) fn structure(&mut self, name: &str, size_bytes: u32, members: &[BuilderMember<'_>]) -> u32 {
        self.compound(4, name, size_bytes, members)
    }

    pub(crate) fn union(&mut self, name: &str, size_bytes: u32, members: &[BuilderMember<'_>]) -> u32 {
        self.compound(5, name, size_bytes, members)
    }

    fn compound(&mut self, kind: u32, name: &str, size_bytes: u32, members: &[BuilderMember<'_>]) -> u32 {
        let has_bitfields = members.iter().any(|(_, _, _, bits)| *bits != 0);
        let tail: Vec<u32> =
            members.iter().flat_map(|(name, ty, offset, bits)| [self.string(name), *ty, bits << 24 | offset]).collect();
        self.add(kind, has_bitfields, name, size_bytes, u32::try_from(members.len()).unwrap(), &tail)
    }

    pub(crate) fn enumeration(&mut self, name: &str, signed: bool, values: &[(&str, i32)]) -> u32 {
        let tail: Vec<u32> =
            values.iter().flat_map(|(name, value)| [self.string(name), value.cast_unsigned()]).collect();
        self.add(6, signed, name, 4, u32::try_from(values.len()).unwrap(), &tail)
    }

    /// A function; parameters by type, 0 with `variadic` last.
    pub(crate) fn func(&mut self, name: &str, params: &[u32], variadic: bool) -> u32 {
        let mut tail: Vec<u32> = params.iter().flat_map(|ty| [self.string("p"), *ty]).collect();
        if variadic {
            tail.extend([0, 0]);
        }
        let proto = self.add(13, false, "", 0, u32::try_from(tail.len() / 2).unwrap(), &tail);
        self.add(12, false, name, proto, 0, &[])
    }

    /// The blob.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let types_bytes = u32::try_from(self.types.len()).unwrap();
        let strings_bytes = u32::try_from(self.strings.len()).unwrap();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
        bytes.extend_from_slice(&[1, 0]);
        for word in [24, 0, types_bytes, types_bytes, strings_bytes] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}
