//! Symbols in little memory: in blocks by address, each compressed. A tracer keeps them for as long as it runs, and looks at
//! a few: what was found lately is kept as well.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::{KallsymsError, Symbol};

/// Symbols of a block: more of them compress better, and take longer to look into.
const BLOCK_SYMBOLS: usize = 512;

/// Compression beyond the first level takes longer and gains little.
const LEVEL: i32 = 1;

/// Addresses are of the kernel's choosing: a machine's stacks have a few hundred.
const RECENT_LIMIT: usize = 1024;

/// One symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) address: u64,
    /// Index in the names of modules plus 1; 0 is the kernel itself.
    pub(super) module: u16,
    pub(super) name: &'a str,
}

/// Where a block is, and what its first symbol is.
struct Block {
    address: u64,
    module: u16,
    start: usize,
    /// Bytes when it is unpacked.
    bytes: usize,
}

/// Symbols in the order of their addresses.
pub(super) struct Table {
    blocks: Vec<Block>,
    packed: Vec<u8>,
    len: usize,
    recent: RefCell<HashMap<u64, Option<Found>>>,
}

/// What an address lies in.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: Rc<str>,
    pub(super) offset: u64,
    pub(super) module: u16,
    /// Whether the next symbol is of the same module.
    pub(super) next_is_kin: bool,
}

impl Table {
    /// Packs symbols, which are in the order of their addresses.
    pub(super) fn new(entries: &[Entry<'_>]) -> Result<Self, KallsymsError> {
        let mut packer = zstd::bulk::Compressor::new(LEVEL).map_err(KallsymsError::Pack)?;
        let mut table = Self { blocks: Vec::new(), packed: Vec::new(), len: entries.len(), recent: RefCell::default() };
        let mut rest = entries;
        while let Some(first) = rest.first() {
            // All symbols of one address are in one block.
            let last = rest.get(BLOCK_SYMBOLS - 1).map_or(u64::MAX, |entry| entry.address);
            let count = rest.partition_point(|entry| entry.address <= last);
            let (block, others) = rest.split_at(count);
            let mut bytes = Vec::new();
            for entry in block {
                bytes.extend_from_slice(&entry.address.to_ne_bytes());
                bytes.extend_from_slice(&entry.module.to_ne_bytes());
                bytes.extend_from_slice(entry.name.as_bytes());
                bytes.push(b'\n');
            }
            let (address, module, start) = (first.address, first.module, table.packed.len());
            table.blocks.push(Block { address, module, start, bytes: bytes.len() });
            table.packed.extend(packer.compress(&bytes).map_err(KallsymsError::Pack)?);
            rest = others;
        }
        table.packed.shrink_to_fit();
        table.blocks.shrink_to_fit();
        Ok(table)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The last symbol that begins at an address or before it; of several at one address the first.
    pub(super) fn find(&self, address: u64) -> Option<Found> {
        if let Some(found) = self.recent.borrow().get(&address) {
            return found.clone();
        }
        let found = self.look_up(address);
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= RECENT_LIMIT {
            recent.clear();
        }
        recent.insert(address, found.clone());
        found
    }

    fn look_up(&self, address: u64) -> Option<Found> {
        let after = self.blocks.partition_point(|block| block.address <= address);
        let bytes = self.unpack(after.checked_sub(1)?)?;
        let (mut found, mut next): (Option<Entry<'_>>, _) = (None, None);
        for entry in entries(&bytes) {
            if entry.address > address {
                next = Some(entry.module);
                break;
            }
            if found.is_none_or(|found| entry.address > found.address) {
                found = Some(entry);
            }
        }
        let found = found?;
        let next = next.or_else(|| self.blocks.get(after).map(|block| block.module));
        Some(Found {
            name: found.name.into(),
            offset: address - found.address,
            module: found.module,
            next_is_kin: next == Some(found.module),
        })
    }

    /// Where symbols of the kernel itself begin, by their names.
    pub(super) fn addresses_of<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        let mut found = [None; N];
        for index in 0..self.blocks.len() {
            let bytes = self.unpack(index).unwrap_or_default();
            for entry in entries(&bytes).filter(|entry| entry.module == 0) {
                for (name, address) in names.iter().zip(&mut found) {
                    if address.is_none() && entry.name == *name {
                        *address = Some(entry.address);
                    }
                }
            }
        }
        found
    }

    fn unpack(&self, index: usize) -> Option<Vec<u8>> {
        let block = self.blocks.get(index)?;
        let end = self.blocks.get(index + 1).map_or(self.packed.len(), |next| next.start);
        let packed = self.packed.get(block.start..end)?;
        let bytes = zstd::bulk::decompress(packed, block.bytes);
        // It was packed here.
        bytes.inspect_err(|error| log::warn!("kernel symbols cannot be unpacked: {error}")).ok()
    }
}

/// The symbols of a block.
fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (address, rest) = bytes.split_first_chunk()?;
        let (module, rest) = rest.split_first_chunk()?;
        let end = memchr::memchr(b'\n', rest)?;
        let name = std::str::from_utf8(&rest[..end]).ok()?;
        bytes = &rest[end + 1..];
        Some(Entry { address: u64::from_ne_bytes(*address), module: u16::from_ne_bytes(*module), name })
    })
}

impl Found {
    /// As it is shown, with the name of its module.
    pub(super) fn symbol(self, module: Option<Rc<str>>) -> Symbol {
        Symbol { name: self.name, offset: self.offset, module }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Entry, Table};

    proptest! {
        /// Check that what is found in blocks is what is found by going through all, also where many symbols begin at one
        /// address.
        #[test]
        fn blocks_find_what_all_has(
            steps in proptest::collection::vec(0_u64..3, 1..3000),
            asked in proptest::collection::vec(0_u64..5000, 1..20),
        ) {
            let names: Vec<String> = (0..steps.len()).map(|n| format!("f{n}")).collect();
            let mut address = 100;
            let all: Vec<Entry<'_>> = steps.iter().zip(&names).map(|(step, name)| {
                address += step;
                Entry { address, module: u16::try_from(address / 700).unwrap(), name }
            }).collect();
            let table = Table::new(&all).unwrap();
            prop_assert_eq!(table.len(), all.len());
            for address in asked {
                let after = all.partition_point(|entry| entry.address <= address);
                let last = after.checked_sub(1).map(|at| all[at].address);
                let wanted = last.and_then(|last| all.iter().find(|entry| entry.address == last));
                for _ in 0..2 {
                    let found = table.find(address);
                    prop_assert_eq!(found.as_ref().map(|found| &*found.name), wanted.map(|entry| entry.name));
                    let kin = all.get(after).zip(wanted).is_some_and(|(next, found)| next.module == found.module);
                    prop_assert!(found.is_none_or(|found| found.next_is_kin == kin));
                }
            }
            let first = all.iter().find(|entry| entry.module == 0).map(|entry| (entry.name, entry.address));
            let name = first.map_or("none", |(name, _)| name);
            prop_assert_eq!(table.addresses_of([name, "none"]), [first.map(|(_, address)| address), None]);
        }
    }
}
