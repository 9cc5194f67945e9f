//! Creates minimal module files for depmod: an ELF object with `.modinfo` and symbols.

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: u16 = 64;
const SYMBOL_BYTES: u64 = 24;

/// A module.
pub(super) struct ModuleFile {
    /// File name without `.ko`.
    pub(super) name: &'static str,
    /// `key=value`.
    pub(super) modinfo: &'static [&'static str],
    /// Exported symbols.
    pub(super) exports: &'static [&'static str],
    /// Imported symbols.
    pub(super) needs: &'static [&'static str],
}

impl ModuleFile {
    /// The file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut strings = vec![0];
        // The first symbol is empty. The others are undefined and have only a name.
        let mut symbols = vec![0; 24];
        for name in self.needs {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(nul_ended(name));
            symbols.extend(at.to_le_bytes());
            symbols.extend([0x10; 1]);
            symbols.extend([0; 19]);
        }
        let joined = |list: &[&str]| list.iter().flat_map(|text| nul_ended(text)).collect::<Vec<u8>>();
        // name, type (SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB), linked section, size of an entry, content
        let sections: [(&str, u32, u32, u64, Vec<u8>); 5] = [
            (".modinfo", 1, 0, 0, joined(self.modinfo)),
            ("__ksymtab_strings", 1, 0, 0, joined(self.exports)),
            (".symtab", 2, 4, SYMBOL_BYTES, symbols),
            (".strtab", 3, 0, 0, strings),
            (".shstrtab", 3, 0, 0, Vec::new()),
        ];
        let names: Vec<u8> =
            std::iter::once(0).chain(sections.iter().flat_map(|section| nul_ended(section.0))).collect();

        let mut content = Vec::new();
        let mut table = vec![0; usize::from(SECTION_BYTES)];
        let mut name_at = 1_u32;
        for (name, kind, link, entry_bytes, bytes) in sections {
            let bytes = if name == ".shstrtab" { names.clone() } else { bytes };
            table.extend(name_at.to_le_bytes());
            table.extend(kind.to_le_bytes());
            // Flags and address.
            table.extend([0; 16]);
            table.extend(u64::try_from(HEADER_BYTES + content.len()).unwrap().to_le_bytes());
            table.extend(u64::try_from(bytes.len()).unwrap().to_le_bytes());
            table.extend(link.to_le_bytes());
            // First global symbol.
            table.extend(u32::from(kind == 2).to_le_bytes());
            table.extend(1_u64.to_le_bytes());
            table.extend(entry_bytes.to_le_bytes());
            content.extend(bytes);
            content.resize(content.len().next_multiple_of(8), 0);
            name_at += u32::try_from(name.len() + 1).unwrap();
        }

        // ELF64, little endian, version 1.
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        // ET_REL, EM_X86_64, version; no entry, no program headers.
        file.extend([1, 0, 62, 0, 1, 0, 0, 0]);
        file.extend([0; 16]);
        file.extend(u64::try_from(HEADER_BYTES + content.len()).unwrap().to_le_bytes());
        file.extend([0; 4]);
        // Sizes and numbers of headers; the names are in the last section.
        for half in [64, 0, 0, SECTION_BYTES, 6, 5] {
            file.extend(half.to_le_bytes());
        }
        assert_eq!(file.len(), HEADER_BYTES);
        file.extend(content);
        file.extend(table);
        file
    }
}

fn nul_ended(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}
