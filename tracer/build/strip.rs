//! Removes the debugging sections of the eBPF object: it only needs its BTF, and they are nine tenths of its size.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, SectionData};

/// Prefixes of the names of these sections and of their relocations.
const DEBUGGING: [&[u8]; 2] = [b".debug_", b".rel.debug_"];

/// Rewrites the object without these sections.
pub(crate) fn strip(path: &Path) -> Result<()> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut builder = Builder::read(data.as_slice()).with_context(|| format!("cannot parse {}", path.display()))?;
    for section in &mut builder.sections {
        if DEBUGGING.iter().any(|beginning| section.name.as_slice().starts_with(beginning)) {
            section.delete = true;
        }
    }
    builder.delete_orphans();
    // LLVM stores the names of sections with those of symbols; this writer needs a separate section.
    if builder.sections.iter().all(|section| !matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped).with_context(|| format!("cannot write {} again", path.display()))?;
    fs::write(path, stripped).with_context(|| format!("cannot write {}", path.display()))
}
