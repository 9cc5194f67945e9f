//! The blob: header, types and strings, each access checked.

use super::BtfError;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Magic, version, flags, header length, and offset and length of types and strings. Newer kernels may append to it.
const HEADER_BYTES: usize = 24;
/// Name, info, and size or type.
const TYPE_BYTES: usize = 12;

/// The kind of a type: `BTF_KIND_*`, include/uapi/linux/btf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    fn new(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Int,
            2 => Self::Ptr,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Fwd,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::DataSec,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            _ => return None,
        })
    }

    /// Bytes that follow the type: a fixed part, and one for each of its `vlen` entries.
    const fn tail_bytes(self) -> (usize, usize) {
        match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::DataSec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => (0, 0),
        }
    }
}

/// A type's fixed part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) kind: Kind,
    /// Offset of its name in the strings; 0 is none.
    pub(super) name: u32,
    /// Entries that follow.
    pub(super) vlen: u32,
    /// The flag that modifies `kind`: structs with bitfields, signed enums.
    kind_flag: bool,
    /// Its size in bytes or the type it refers to, depending on its kind.
    pub(super) size_or_type: u32,
    /// Position of its entries in the blob.
    tail: usize,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawMember {
    pub(super) name: u32,
    pub(super) type_id: u32,
    pub(super) offset_bits: u32,
    /// Width of a bitfield; 0 for a member that is not one.
    pub(super) bitfield_bits: u32,
}

/// The bytes and the positions of their types.
pub(super) struct Blob {
    bytes: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Position of each type; type 0 is void and has none.
    positions: Vec<u32>,
    /// The first type of an unknown kind, whose length is unknown: it and all types behind it cannot be read.
    unknown: Option<(u32, u32)>,
}

impl Blob {
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let truncated = |what| BtfError::Truncated { what, len_bytes: bytes.len() };
        let magic = u16_at(&bytes, 0).ok_or_else(|| truncated("the magic number"))?;
        if magic != MAGIC {
            return Err(BtfError::Magic { found: magic });
        }
        let version = *bytes.get(2).ok_or_else(|| truncated("the version"))?;
        if version != VERSION {
            return Err(BtfError::Version { found: version });
        }
        let field = |at| usize_at(&bytes, at).ok_or_else(|| truncated("the header"));
        let header_bytes = field(4)?;
        if header_bytes < HEADER_BYTES {
            return Err(truncated("the header"));
        }
        let section = |offset_at, what| {
            let start = header_bytes.checked_add(field(offset_at)?);
            let end = start.and_then(|start| start.checked_add(field(offset_at + 4).ok()?));
            let range = start.zip(end).filter(|(_, end)| *end <= bytes.len());
            range.map(|(start, end)| start..end).ok_or_else(|| truncated(what))
        };
        let types = section(8, "the section of types")?;
        let strings = section(16, "the section of strings")?;
        // With a NUL at the end of the strings, every name is terminated.
        if bytes.get(strings.clone()).and_then(<[u8]>::last).is_none_or(|last| *last != 0) {
            return Err(truncated("the end of the strings"));
        }

        let mut positions = Vec::with_capacity(types.len() / (2 * TYPE_BYTES));
        let mut at = types.start;
        let mut unknown = None;
        while at < types.end {
            let id = u32::try_from(positions.len() + 1).map_err(|_| truncated("a type's id"))?;
            let info = u32_at(&bytes, at + 4).ok_or_else(|| truncated("a type"))?;
            let number = info >> 24 & 0x1f;
            let Some(kind) = Kind::new(number) else {
                unknown = Some((id, number));
                break;
            };
            let (fixed, each) = kind.tail_bytes();
            let vlen = usize::from(u16_of(info));
            positions.push(u32::try_from(at).map_err(|_| truncated("a type"))?);
            at += TYPE_BYTES + fixed + each * vlen;
        }
        if at != types.end && unknown.is_none() {
            return Err(truncated("the last type"));
        }
        positions.shrink_to_fit();
        Ok(Self { bytes, strings, positions, unknown })
    }

    pub(super) const fn unknown(&self) -> Option<(u32, u32)> {
        self.unknown
    }

    pub(super) fn type_count(&self) -> usize {
        self.positions.len()
    }

    /// Every type with its id.
    pub(super) fn types(&self) -> impl Iterator<Item = (u32, Type)> + '_ {
        (1_u32..).zip(&self.positions).filter_map(|(id, at)| Some((id, self.type_at(*at)?)))
    }

    /// A type; `None` for void and for ids that do not exist.
    pub(super) fn ty(&self, id: u32) -> Option<Type> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        self.type_at(*self.positions.get(index)?)
    }

    fn type_at(&self, at: u32) -> Option<Type> {
        let at = usize::try_from(at).ok()?;
        let info = u32_at(&self.bytes, at + 4)?;
        Some(Type {
            kind: Kind::new(info >> 24 & 0x1f)?,
            name: u32_at(&self.bytes, at)?,
            vlen: u32::from(u16_of(info)),
            kind_flag: info >> 31 != 0,
            size_or_type: u32_at(&self.bytes, at + 8)?,
            tail: at + TYPE_BYTES,
        })
    }

    /// A name's bytes.
    pub(super) fn string(&self, offset: u32) -> Result<&[u8], BtfError> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.bytes.get(self.strings.clone())?.get(offset..))
            .filter(|rest| !rest.is_empty())
            .ok_or(BtfError::Truncated { what: "a name", len_bytes: self.bytes.len() })?;
        Ok(rest.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// Members of a struct or union.
    pub(super) fn members(&self, ty: &Type) -> impl Iterator<Item = RawMember> + '_ {
        let has_bitfields = ty.kind_flag;
        self.entries(ty, 12).map(move |[name, type_id, offset]| {
            let (offset_bits, bitfield_bits) =
                if has_bitfields { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
            RawMember { name, type_id, offset_bits, bitfield_bits }
        })
    }

    /// Enumerators: name and value.
    pub(super) fn enumerators(&self, ty: &Type) -> impl Iterator<Item = (u32, i64)> + '_ {
        let is_signed = ty.kind_flag;
        let is_wide = ty.kind == Kind::Enum64;
        self.entries(ty, if is_wide { 12 } else { 8 }).map(move |[name, low, high]| {
            let value = if is_wide {
                (u64::from(high) << 32 | u64::from(low)).cast_signed()
            } else if is_signed {
                i64::from(low.cast_signed())
            } else {
                i64::from(low)
            };
            (name, value)
        })
    }

    /// Parameters of a prototype: name and type.
    pub(super) fn params(&self, ty: &Type) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.entries(ty, 8).map(|[name, type_id, _]| (name, type_id))
    }

    /// Element type and count of an array.
    pub(super) fn array(&self, ty: &Type) -> Option<(u32, u32)> {
        Some((u32_at(&self.bytes, ty.tail)?, u32_at(&self.bytes, ty.tail + 8)?))
    }

    /// Width of an integer.
    pub(super) fn int_bits(&self, ty: &Type) -> Option<u32> {
        Some(u32_at(&self.bytes, ty.tail)? & 0xff)
    }

    /// The words of each entry that follows a type. The third is 0 if entries have two.
    fn entries(&self, ty: &Type, bytes_each: usize) -> impl Iterator<Item = [u32; 3]> + '_ {
        let tail = ty.tail;
        (0..usize::try_from(ty.vlen).unwrap_or(0)).map_while(move |index| {
            let at = tail + index * bytes_each;
            let third = if bytes_each > 8 { u32_at(&self.bytes, at + 8)? } else { 0 };
            Some([u32_at(&self.bytes, at)?, u32_at(&self.bytes, at + 4)?, third])
        })
    }
}

/// FNV-1a, which is sufficient for an index of short names.
pub(super) fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The low half: the number of entries in a type's info word.
const fn u16_of(info: u32) -> u16 {
    let [low, high, _, _] = info.to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    u32_at(bytes, at).and_then(|value| usize::try_from(value).ok())
}
