//! Struct offsets, enum values and function prototypes of the running kernel, from BTF.
//!
//! The BPF Type Format is one blob of types and one of strings (`Documentation/bpf/btf.rst`). It is read once, from front to
//! back, into a table of positions and an index of names; lookups then read the blob itself. Nothing in the blob is trusted:
//! every position is checked.

mod read;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use read::{Kind, Type};

/// The kernel's type information.
const VMLINUX: &str = "sys/kernel/btf/vmlinux";

/// Maximum number of steps through typedefs and qualifiers, and of levels of anonymous members: more than any compiler emits.
/// It ends loops in a damaged blob.
const DEPTH_LIMIT: u32 = 32;

/// Maximum number of anonymous members in one search. `task_struct` has about ten.
const ANONYMOUS_LIMIT: u32 = 1024;

/// Why type information cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; boot a kernel built with CONFIG_DEBUG_INFO_BTF=y", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// A file of the user cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// It has no BTF magic.
    #[error("invalid BTF: it begins with {found:#06x} instead of 0xeb9f in this machine's byte order")]
    Magic {
        /// The first two bytes.
        found: u16,
    },
    /// An unknown version.
    #[error("unsupported BTF version {found}: expected 1")]
    Version {
        /// The version.
        found: u8,
    },
    /// It is truncated, or points outside of itself.
    #[error("invalid BTF: {what} does not fit into {len_bytes} bytes")]
    Truncated {
        /// The part that was expected.
        what: &'static str,
        /// The length of the blob.
        len_bytes: usize,
    },
    /// An unknown kind of type, of unknown length.
    #[error("unsupported BTF: type {id} has kind {kind}, and types behind it are needed; expected 1 to 19")]
    UnknownKind {
        /// The type's id.
        id: u32,
        /// The kind.
        kind: u32,
    },
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Bytes from the start of the outermost struct.
    pub offset_bytes: u32,
    /// Its size.
    pub size_bytes: u32,
}

/// A function's prototype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prototype {
    /// Named parameters.
    pub params: u32,
    /// More arguments may follow. Such a function cannot be a target of fentry or fexit.
    pub variadic: bool,
}

/// The type information of a kernel.
pub struct Btf {
    blob: read::Blob,
    /// Named structs, unions, enums, typedefs and functions: (hash of the name, type id), sorted.
    names: Vec<(u32, u32)>,
}

impl Btf {
    /// Reads the type information of the running kernel.
    ///
    /// # Errors
    /// If it cannot be read, or is not BTF.
    pub fn load() -> Result<Self, BtfError> {
        Self::load_from(Path::new("/"))
    }

    /// Reads the type information of the kernel whose file systems are mounted under `root`.
    ///
    /// # Errors
    /// See [`Btf::load`].
    pub fn load_from(root: &Path) -> Result<Self, BtfError> {
        let path = root.join(VMLINUX);
        match std::fs::read(&path) {
            Ok(bytes) => Self::from_bytes(bytes),
            Err(reason) => Err(BtfError::Read { path, reason }),
        }
    }

    /// Reads a file, for kernels that have no type information of their own.
    ///
    /// # Errors
    /// If it cannot be read, or is not BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let fail = |reason| BtfError::File { path: path.to_owned(), reason };
        // Larger than the types of any kernel: Debian's have 5 to 10 MB.
        const LIMIT_BYTES: u64 = 256 << 20;
        let mut bytes = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(LIMIT_BYTES).read_to_end(&mut bytes)).map_err(fail)?;
        Self::from_bytes(bytes)
    }

    /// Reads a blob. Types behind one of an unknown kind are missing (see [`Btf::unread`]).
    ///
    /// # Errors
    /// If it is truncated, damaged, or not BTF.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        Self::from_bytes(bytes.to_vec())
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let blob = read::Blob::new(bytes)?;
        let mut names = Vec::new();
        for (id, ty) in blob.types() {
            let asked_for =
                matches!(ty.kind, Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Typedef | Kind::Func);
            if asked_for && ty.name != 0 {
                names.push((read::hash(blob.string(ty.name)?), id));
            }
        }
        names.sort_unstable();
        Ok(Self { blob, names })
    }

    /// Why types may be missing: one of an unknown kind, behind which nothing can be read. Newer kernels may have such types.
    #[must_use]
    pub fn unread(&self) -> Option<BtfError> {
        self.blob.unknown().map(|(id, kind)| BtfError::UnknownKind { id, kind })
    }

    /// Number of types.
    #[must_use]
    pub fn type_count(&self) -> usize {
        self.blob.type_count()
    }

    /// Offset and size of a member: `["task_struct", "signal"]`, or through embedded structs
    /// `["pid_namespace", "ns", "inum"]`. Members of anonymous structs and unions belong to the struct around them. `None` if
    /// it does not exist or is a bitfield, if the path leads through a pointer, and if several structs of this name differ.
    #[must_use]
    pub fn offset(&self, path: &[&str]) -> Option<Member> {
        let (root, members) = path.split_first()?;
        if members.is_empty() {
            return None;
        }
        let mut found =
            self.named(root, &[Kind::Struct, Kind::Union, Kind::Typedef]).filter_map(|id| self.walk(id, members));
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Size of a struct or union, bytes. `None` if there is none, or if several of this name differ.
    #[must_use]
    pub fn struct_size(&self, name: &str) -> Option<u32> {
        let mut sizes =
            self.named(name, &[Kind::Struct, Kind::Union]).filter_map(|id| Some(self.blob.ty(id)?.size_or_type));
        let first = sizes.next()?;
        sizes.all(|other| other == first).then_some(first)
    }

    /// The value of an enumerator.
    #[must_use]
    pub fn enum_value(&self, enum_name: &str, enumerator: &str) -> Option<i64> {
        self.named(enum_name, &[Kind::Enum, Kind::Enum64]).find_map(|id| {
            let ty = self.blob.ty(id)?;
            self.blob.enumerators(&ty).find_map(|(name, value)| self.is(name, enumerator).then_some(value))
        })
    }

    /// Whether there is a function of this name that programs can attach to by BTF.
    #[must_use]
    pub fn has_func(&self, name: &str) -> bool {
        self.func_id(name).is_some()
    }

    /// The id of a function's type; of several of this name, the first.
    #[must_use]
    pub fn func_id(&self, name: &str) -> Option<u32> {
        self.named(name, &[Kind::Func]).next()
    }

    /// A function's prototype.
    #[must_use]
    pub fn func(&self, name: &str) -> Option<Prototype> {
        self.named(name, &[Kind::Func]).find_map(|id| {
            let proto = self.blob.ty(self.blob.ty(id)?.size_or_type)?;
            if proto.kind != Kind::FuncProto {
                return None;
            }
            // A variadic function ends in a parameter without name and type.
            let variadic = self.blob.params(&proto).last().is_some_and(|(name, ty)| name == 0 && ty == 0);
            Some(Prototype { params: proto.vlen - u32::from(variadic), variadic })
        })
    }

    /// Number of a function's named parameters.
    #[must_use]
    pub fn func_param_count(&self, name: &str) -> Option<u32> {
        self.func(name).map(|prototype| prototype.params)
    }

    /// Ids of the types with this name and one of these kinds, in the order of the blob.
    fn named<'a>(&'a self, name: &'a str, kinds: &'a [Kind]) -> impl Iterator<Item = u32> + 'a {
        let hash = read::hash(name.as_bytes());
        let start = self.names.partition_point(|(other, _)| *other < hash);
        self.names
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(move |(other, _)| *other == hash)
            .map(|(_, id)| *id)
            .filter(move |id| self.blob.ty(*id).is_some_and(|ty| kinds.contains(&ty.kind) && self.is(ty.name, name)))
    }

    fn is(&self, name_offset: u32, name: &str) -> bool {
        self.blob.string(name_offset).is_ok_and(|bytes| bytes == name.as_bytes())
    }

    /// Follows member names from a struct; returns offset and size of the last one.
    fn walk(&self, mut id: u32, members: &[&str]) -> Option<Member> {
        let mut offset_bits = 0_u32;
        for name in members {
            let mut budget = ANONYMOUS_LIMIT;
            let (member_bits, member_type) = self.member(self.resolve(id)?, name, DEPTH_LIMIT, &mut budget)?;
            offset_bits = offset_bits.checked_add(member_bits)?;
            id = member_type;
        }
        let size_bytes = self.size(id)?;
        offset_bits.is_multiple_of(8).then_some(Member { offset_bytes: offset_bits / 8, size_bytes })
    }

    /// Finds a member in a struct and its anonymous members: bits from its start, and its type.
    fn member(&self, ty: Type, name: &str, depth: u32, budget: &mut u32) -> Option<(u32, u32)> {
        if !matches!(ty.kind, Kind::Struct | Kind::Union) {
            return None;
        }
        self.blob.members(&ty).find_map(|member| {
            if member.name != 0 {
                let is_whole = member.bitfield_bits == 0 && self.is(member.name, name);
                return is_whole.then_some((member.offset_bits, member.type_id));
            }
            *budget = budget.checked_sub(1)?;
            let inner = self.resolve(member.type_id)?;
            let (inner_bits, type_id) = self.member(inner, name, depth.checked_sub(1)?, budget)?;
            Some((member.offset_bits.checked_add(inner_bits)?, type_id))
        })
    }

    /// A type without its typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH_LIMIT {
            let ty = self.blob.ty(id)?;
            match ty.kind {
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => id = ty.size_or_type,
                _ => return Some(ty),
            }
        }
        None
    }

    /// Size of a type, bytes. `None` for functions, forward declarations, void, and integers of incomplete bytes.
    fn size(&self, mut id: u32) -> Option<u32> {
        let mut elements = 1_u32;
        for _ in 0..DEPTH_LIMIT {
            let ty = self.resolve(id)?;
            let size_bytes = match ty.kind {
                Kind::Int => {
                    let is_whole = Some(self.blob.int_bits(&ty)?) == ty.size_or_type.checked_mul(8);
                    is_whole.then_some(ty.size_or_type)?
                }
                Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => ty.size_or_type,
                Kind::Ptr => 8,
                Kind::Array => {
                    let (element, count) = self.blob.array(&ty)?;
                    elements = elements.checked_mul(count)?;
                    id = element;
                    continue;
                }
                _ => return None,
            };
            return elements.checked_mul(size_bytes);
        }
        None
    }
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf").field("types", &self.type_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod builder;
#[cfg(test)]
mod tests;
